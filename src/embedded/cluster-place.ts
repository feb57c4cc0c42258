import { createHash } from 'node:crypto';
import { chmod, lstat, mkdir, mkdtemp, readFile, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { ErrandError } from '../errors.ts';
import { type Account, canReach } from './account.ts';

/** Where the data of a root user's errand lies when the database's account cannot reach its data dir. */
const SHARED_HOME = '/var/lib/errand';

/**
 * Where the database of `dataDir` lies or is to be created: in it, unless `account` cannot reach it.
 * The choice is made once; the file `postgres-location` in the data dir remembers a place elsewhere.
 */
export async function placeCluster(
  dataDir: string,
  account: Account | null,
  log: (line: string) => void,
): Promise<string> {
  const pointer = join(dataDir, 'postgres-location');
  const place = (await readFile(pointer, 'utf8').catch(() => '')).trim();
  if (place) {
    await expectPlace(place, pointer);
    log(`The database of ${dataDir} is kept in ${place}`);
    return place;
  }
  const beside = join(dataDir, 'postgres');
  if (!account || (await letThrough(dataDir, account))) return beside;
  if (await exists(beside)) {
    throw new ErrandError(
      'data-dir-unreachable',
      `User ${account.name}, who runs PostgreSQL for root, cannot reach its database in ${beside} ` +
        'any more: let others pass through (chmod o+x) the directories above it',
    );
  }
  const elsewhere = await findPlaceElsewhere(dataDir);
  await writeFile(pointer, `${elsewhere}\n`);
  log(
    `User ${account.name}, who runs PostgreSQL for root, cannot reach ${dataDir}: ` +
      `its database is kept in ${elsewhere}`,
  );
  return elsewhere;
}

/** A folder without a database is one whose creation was cut short; without the folder, data is lost. */
async function expectPlace(place: string, pointer: string): Promise<void> {
  if (await exists(dirname(place))) return;
  throw new ErrandError(
    'data-dir-moved',
    `The database was kept in ${place}, which is gone: bring it back, ` +
      `or remove ${pointer} to start with an empty one`,
  );
}

/** The data dir itself is ours to open for passing through; what lies above it is not. */
async function letThrough(dataDir: string, account: Account): Promise<boolean> {
  const { uid, mode } = await lstat(dataDir);
  if (uid === 0 && (mode & 0o001) === 0) await chmod(dataDir, (mode & 0o777) | 0o011);
  return canReach(account, dataDir);
}

/** A new place each time: a data dir that was removed and made again starts empty. */
async function findPlaceElsewhere(dataDir: string): Promise<string> {
  const hash = createHash('sha256').update(dataDir).digest('hex').slice(0, 16);
  await mkdir(SHARED_HOME, { recursive: true, mode: 0o755 });
  const folder = await mkdtemp(join(SHARED_HOME, `${hash}-`));
  await chmod(folder, 0o711);
  return join(folder, 'postgres');
}

async function exists(path: string): Promise<boolean> {
  return (await lstat(path).catch(() => null)) !== null;
}
