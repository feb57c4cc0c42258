/** A database whose disk is full: a file system of its own in memory, which only root can mount. */
import { execFile } from 'node:child_process';
import { rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import { promisify } from 'node:util';
import { type ChaosPostgres, startPostgres } from '../postgres.ts';
import { scenario } from '../scenario.ts';

const run = promisify(execFile);
const LOAD_PER_SECOND = 200;
const DISK_MIB = 320;
const FULL_MS = 8_000;
/** Small, for the disk is. */
const SETTINGS = { max_wal_size: '64MB', min_wal_size: '32MB', shared_buffers: '32MB' };

export const filled = scenario(
  'a full disk',
  async (world) => {
    const { load, postgres } = world;
    load.start(LOAD_PER_SECOND);
    await pause(2_000);
    const filler = join(postgres.folder, 'filler');
    await writeFile(filler, Buffer.alloc(DISK_MIB * 1_024 * 1_024)).catch(expectFull);
    await pause(FULL_MS);
    await rm(filler);
    // Postgres ends itself when it cannot write its log; whoever runs it starts it again.
    const runs = await postgres.sql`select 1`.then(
      () => true,
      () => false,
    );
    if (!runs) await postgres.crash().then(postgres.start);
    const refused = load.sent.filter(({ state }) => state === 'refused' || state === 'unknown');
    if (refused.length === 0) world.complain('the disk was not full enough to be noticed');
    world.remark(`${refused.length} tasks refused`);
    world.remark(runs ? 'Postgres stayed up' : 'Postgres had ended itself');
    await world.dispatchesAgain();
  },
  { world: { postgres: startOnSmallDisk }, obstacle },
);

async function startOnSmallDisk(folder: string): Promise<ChaosPostgres> {
  await run('mount', ['-t', 'tmpfs', '-o', `size=${DISK_MIB}m,mode=711`, 'errand-chaos', folder]);
  try {
    const postgres = await startPostgres(folder, SETTINGS);
    return {
      ...postgres,
      async stop() {
        await postgres.stop();
        await run('umount', [folder]);
      },
    };
  } catch (error) {
    await run('umount', [folder]);
    throw error;
  }
}

function expectFull(error: NodeJS.ErrnoException): void {
  if (error.code !== 'ENOSPC') throw error;
}

async function obstacle(): Promise<string | null> {
  if (process.platform !== 'linux') return 'needs Linux';
  return process.getuid?.() === 0 ? null : 'needs root, to mount a small disk';
}
