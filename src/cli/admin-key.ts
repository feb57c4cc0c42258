import { randomBytes } from 'node:crypto';
import { link, mkdir, readFile, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { ErrandError } from '../errors.ts';

export interface AdminKey {
  key: string;
  /** Where it is kept, readable by its owner alone. */
  file: string;
  /** True for the one call that made it. */
  isNew: boolean;
}

/**
 * The admin key that is kept in `dataDir`, made at the first call. Safe when several processes start at
 * once: a hard link appears whole or not at all, and the first one wins.
 *
 * @throws ErrandError `admin-key-damaged` when the file holds no key
 */
export async function ensureAdminKey(dataDir: string): Promise<AdminKey> {
  const file = join(dataDir, 'admin-key');
  await mkdir(dataDir, { recursive: true, mode: 0o755 });
  const isNew = await createKeyFile(file);
  const key = (await readFile(file, 'utf8')).trim();
  if (key.length >= 24) return { key, file, isNew };
  throw new ErrandError(
    'admin-key-damaged',
    `${file} must hold a key of 24 or more characters, got ${key.length}: ` +
      'remove it to have a new one made, or set ERRAND_ADMIN_KEY',
  );
}

async function createKeyFile(file: string): Promise<boolean> {
  const random = randomBytes(32).toString('base64url');
  const draft = `${file}.${process.pid}.${random.slice(0, 8)}`;
  await writeFile(draft, `errand_admin_${random}\n`, { mode: 0o600, flag: 'wx' });
  try {
    await link(draft, file);
    return true;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'EEXIST') return false;
    throw error;
  } finally {
    await rm(draft, { force: true });
  }
}
