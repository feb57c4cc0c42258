import { randomBytes } from 'node:crypto';
import { mkdir, readdir, realpath, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as wait } from 'node:timers/promises';
import { ErrandError } from '../errors.ts';
import { identifyProcess } from './process-identity.ts';

const PATIENCE_MS = 1_000;
const POLL_MS = 20;

export interface OwnedDataDir {
  /** Its real path. */
  dataDir: string;
  release(): Promise<void>;
}

/**
 * Makes this process the only owner of the data dir at `path`, which is created if need be, until it
 * releases it or ends, however it ends.
 *
 * Every claimant first writes a file named for itself and then looks at the others', so of two the
 * later one sees the earlier, and no file is ever handed from one owner to the next. Of two that start
 * at the same moment the one with the higher name gives way.
 * @throws ErrandError `data-dir-in-use`, `data-dir-unwritable`
 */
export async function lockDataDir(path: string): Promise<OwnedDataDir> {
  const { dataDir, folder, mine } = await claimDataDir(path);
  const release = () => rm(join(folder, mine), { force: true });
  const deadline = performance.now() + PATIENCE_MS;
  for (;;) {
    const other = await findOtherOwner(folder, mine);
    if (!other) return { dataDir, release };
    if (other < mine || performance.now() > deadline) {
      await release();
      throw new ErrandError(
        'data-dir-in-use',
        `Another errand is running on ${dataDir} (pid ${other.split('-')[0]}): ` +
          'stop it, or set ERRAND_DATA_DIR to another directory',
      );
    }
    await wait(POLL_MS);
  }
}

async function claimDataDir(
  path: string,
): Promise<{ dataDir: string; folder: string; mine: string }> {
  const token = randomBytes(4).toString('hex');
  const mine = `${process.pid}-${await identifyProcess(process.pid)}-${token}`;
  try {
    await mkdir(path, { recursive: true, mode: 0o755 });
    const dataDir = await realpath(path);
    const folder = join(dataDir, 'owner');
    await mkdir(folder, { recursive: true, mode: 0o700 });
    await writeFile(join(folder, mine), '', { flag: 'wx', mode: 0o600 });
    return { dataDir, folder, mine };
  } catch (cause) {
    throw new ErrandError(
      'data-dir-unwritable',
      `Cannot write to the data dir ${path} (${(cause as Error).message}): ` +
        'start errand as the user who owns it, or set ERRAND_DATA_DIR to another directory',
      { cause },
    );
  }
}

/** The lowest name among the other owners that live; what dead ones left is removed. */
async function findOtherOwner(folder: string, mine: string): Promise<string | null> {
  const names = (await readdir(folder)).filter((name) => name !== mine).sort();
  for (const name of names) {
    const [pid, identity] = name.split('-');
    if ((await identifyProcess(Number(pid))) === identity) return name;
    await rm(join(folder, name), { force: true });
  }
  return null;
}
