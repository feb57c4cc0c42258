/** Too little of something: connections, memory, time that is right. */
import { readFile } from 'node:fs/promises';
import { setTimeout as pause } from 'node:timers/promises';
import { startPostgres } from '../postgres.ts';
import { scenario } from '../scenario.ts';
import type { World } from '../world.ts';

const LOAD_PER_SECOND = 200;
const HEAP_MIB = 128;
const MOST_RESIDENT_MIB = 256;
const LARGE_TASKS = 10_000;
const HOUR_SECONDS = 3_600;

/** Three processes want 45 connections. */
export const crowded = scenario(
  'max_connections = 16',
  async (world) => {
    world.load.start(LOAD_PER_SECOND);
    await pause(10_000);
  },
  { world: { postgres: (folder) => startPostgres(folder, { max_connections: '16' }) } },
);

export const tight = scenario(
  `${MOST_RESIDENT_MIB} MB of memory, ${LARGE_TASKS} payloads of 16 KB`,
  async (world) => {
    await world.load.burst(LARGE_TASKS);
    world.load.start(LOAD_PER_SECOND);
    await pause(5_000);
    for (const { process } of world.apis) await expectSmall(world, 'api', process.child.pid!);
    for (const { process } of world.dispatchers) {
      await expectSmall(world, 'dispatcher', process.child.pid!);
    }
  },
  {
    world: {
      env: { NODE_OPTIONS: `--max-old-space-size=${HEAP_MIB} --max-semi-space-size=8` },
      fields: { payload: 'x'.repeat(16_000) },
    },
  },
);

/** The most that a process ever had in memory at once, of which the kernel keeps count. */
async function expectSmall(world: World, role: string, pid: number): Promise<void> {
  const status = await readFile(`/proc/${pid}/status`, 'utf8').catch(() => '');
  const [, kib] = /VmHWM:\s+(\d+) kB/.exec(status) ?? [];
  if (kib === undefined) return world.remark('memory is not told here');
  const mib = Math.round(Number(kib) / 1_024);
  world.remark(`${role} ${mib} MB`);
  if (mib > MOST_RESIDENT_MIB) world.complain(`${role}: ${mib} MB in memory`);
}

/** Two dispatchers whose clocks are two hours apart, and tasks that are due in a moment. */
export const mistimed = scenario(
  'clocks of the dispatchers an hour fast and slow',
  async (world) => {
    const { load, target } = world;
    const right = [...world.dispatchers];
    await world.start('dispatcher', shiftedBy(HOUR_SECONDS));
    await world.start('dispatcher', shiftedBy(-HOUR_SECONDS));
    for (const dispatcher of right) await world.leave(dispatcher);
    load.start(LOAD_PER_SECOND);
    const dueAt = new Date(Date.now() + 3_000);
    await load.burst(500, dueAt);
    await pause(6_000);
    const skew = Math.max(...target.arrivals.map((a) => Math.abs(a.issuedAt - a.wallMs / 1_000)));
    world.remark(`iat within ${skew.toFixed(0)} s`);
    if (skew > 30) world.complain(`the iat of a token was ${skew.toFixed(0)} s off`);
    const early = target.arrivals.filter((a) => load.sent[a.token]!.dueMs > a.wallMs + 50);
    if (early.length > 0) world.complain(`${early.length} calls came before they were due`);
  },
);

/** The wall clock as the process's own JavaScript reads it; its monotonic clock stays as it is. */
function shiftedBy(seconds: number): Record<string, string> {
  const module = new URL('../shifted-clock.ts', import.meta.url).href;
  return { NODE_OPTIONS: `--import=${module}`, CHAOS_CLOCK_SHIFT_SECONDS: String(seconds) };
}
