import { createSecretKey } from 'node:crypto';
import { ContentError, type DataKey } from './content-seal.ts';
import { dataKeyContext, findDataKey } from './data-key.ts';
import type { Database } from './database.ts';
import { isDatabaseAway } from './errors.ts';
import type { Vault } from './vault.ts';

/** The data keys that this process has met, unwrapped. */
export interface Keyring {
  /**
   * At once when it is known, else read: a data key never changes.
   *
   * @throws ContentError when the project has no such key any more; what `Vault.open` throws when it
   * does not open: for 10 s then nobody asks again
   */
  get(project: string, id: number): DataKey | Promise<DataKey>;
}

const MOST = 10_000;
const ASK_AGAIN_MS = 10_000;

interface Reading {
  key: Promise<DataKey>;
  failedAtMs: number | null;
}

/** `nowMs` is a monotonic clock. */
export function createKeyring(
  database: Database,
  vault: Vault,
  nowMs: () => number = () => performance.now(),
): Keyring {
  const known = new Map<string, DataKey>();
  const readings = new Map<string, Reading>();

  async function load(project: string, id: number): Promise<DataKey> {
    const row = await database.run((sql) => findDataKey(sql, project, id));
    if (row === null) throw new ContentError(`project "${project}" has no data key ${id}`);
    if (row.wrapped === null) {
      throw new ContentError(
        `data key ${id} was given up, as the master key that wrapped it was lost`,
      );
    }
    const secret = vault.open<unknown>(row.wrapped, dataKeyContext(project)) as string;
    return { id, project, secret: createSecretKey(Buffer.from(secret, 'base64')) };
  }

  async function read(name: string, project: string, id: number, reading: Reading) {
    try {
      const key = await load(project, id);
      if (known.size >= MOST) known.clear();
      known.set(name, key);
      readings.delete(name);
      return key;
    } catch (error) {
      if (isDatabaseAway(error)) readings.delete(name);
      else reading.failedAtMs = nowMs();
      throw error;
    }
  }

  return {
    get(project, id) {
      const name = `${project}/${id}`;
      const key = known.get(name);
      if (key !== undefined) return key;
      const last = readings.get(name);
      if (last && (last.failedAtMs === null || nowMs() - last.failedAtMs < ASK_AGAIN_MS)) {
        return last.key;
      }
      const reading = { failedAtMs: null } as Reading;
      readings.set(name, reading);
      reading.key = read(name, project, id, reading);
      return reading.key;
    },
  };
}
