import { lstat, mkdir, mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { findAccount } from '../../src/embedded/account.ts';
import { placeCluster } from '../../src/embedded/cluster-place.ts';
import { startEmbeddedPostgres } from '../../src/embedded/embedded-postgres.ts';

const account = await findAccount();
const log = vi.fn<(line: string) => void>();
let home: string;

/** What mkdtemp makes only its owner can go through, so `home/data` is out of the account's reach. */
beforeEach(async () => {
  home = await mkdtemp(join(tmpdir(), 'errand-place-'));
  await mkdir(join(home, 'data'));
  log.mockClear();
});

afterEach(() => rm(home, { recursive: true, force: true }));

describe('placeCluster()', () => {
  it('keeps the database in the data dir of a user who runs it himself', async () => {
    const dataDir = join(home, 'data');
    expect(await placeCluster(dataDir, null, log)).toBe(join(dataDir, 'postgres'));
    expect(log).not.toHaveBeenCalled();
  });

  it.runIf(account)('opens the data dir itself for the account', async () => {
    expect(await placeCluster(home, account, log)).toBe(join(home, 'postgres'));
    expect((await lstat(home)).mode & 0o777).toBe(0o711);
  });

  it.runIf(account)('remembers a place elsewhere for a data dir out of reach', async () => {
    const dataDir = join(home, 'data');
    const options = { dataDir, settings: { fsync: 'off' }, log };
    const first = await startEmbeddedPostgres(options);
    await first.stop();
    const place = (await readFile(join(dataDir, 'postgres-location'), 'utf8')).trim();
    expect(log).toHaveBeenCalledWith(expect.stringContaining(place));
    expect((await lstat(place)).uid).toBe(account?.uid);

    const second = await startEmbeddedPostgres(options);
    await second.stop();
    expect(second.url).toBe(first.url);
    await expect(lstat(join(dataDir, 'postgres'))).rejects.toMatchObject({ code: 'ENOENT' });

    await rm(dirname(place), { recursive: true });
    await expect(startEmbeddedPostgres(options)).rejects.toMatchObject({ code: 'data-dir-moved' });
  });

  it.runIf(account)('does not start empty when its database came out of reach', async () => {
    await mkdir(join(home, 'data', 'postgres'));
    await expect(placeCluster(join(home, 'data'), account, log)).rejects.toMatchObject({
      code: 'data-dir-unreachable',
    });
  });
});
