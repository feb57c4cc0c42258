import { setTimeout as pause } from 'node:timers/promises';
import type { Cleanup } from '../../examples/demo/cleanup.ts';
import type { Sql } from '../../src/store/database.ts';
import { RATE_LIMITS, type ErrandRow } from '../rows/errand.ts';
import { runBench } from '../run.ts';
import type { Target } from '../start.ts';
import { median, type Say } from '../statistics.ts';
import { QUEUE } from '../work.ts';
import { timeDrain } from './drain.ts';
import type { Options } from './options.ts';
import { measureP99 } from './probe.ts';
import type { Point } from './series.ts';

/** One `errand dev` with a database, a target and a load client of its own. */
export interface System {
  errand: ErrandRow;
  target: Target;
  sql: Sql;
  say: Say;
  cleanup: Cleanup;
}

/** Beside the queue that is drained, on the same shard: what single tasks go through, and what only lies there. */
export const PROBED = 'probed';
const SAMPLES = 300;
const QUIET_CHECK_MS = 20;
const PATIENCE_MS = 60_000;
const WARM_UP_ROUNDS = 2;

/** Starts a system, warmed up, lets `measure` work with it, and removes it with everything it kept. */
export async function withSystem<Result>(
  options: Options,
  measure: (system: System) => Promise<Result>,
): Promise<Result> {
  let result: Result | undefined;
  await runBench(['errand'], async ({ errand, target, rows }, say, cleanup) => {
    const system = { errand: errand!, target, sql: rows[0]!.meter.sql!, say, cleanup };
    await addProbedQueue(system);
    for (let round = 0; round < WARM_UP_ROUNDS; round += 1) await drainOnce(system, options.tasks);
    await measureP99({ target, load: errand!.load }, { queues: [PROBED], samples: 1 });
    result = await measure(system);
  });
  return result!;
}

/** Drains of the queue, and single tasks beside it while it is paused with everything that lies in it. */
export async function measurePoint(
  system: System,
  x: number,
  { tasks, rounds }: Pick<Options, 'tasks' | 'rounds'>,
  payloadBytes?: number,
): Promise<Point> {
  const drains = [];
  for (let round = 0; round < rounds; round += 1) {
    drains.push(await drainOnce(system, tasks, payloadBytes));
  }
  const { errand, target, say } = system;
  const probes = { queues: [PROBED], samples: SAMPLES, payloadBytes };
  const point = {
    x,
    tasksPerSecond: median(drains.map(({ tasksPerSecond }) => tasksPerSecond)),
    p99Ms: await measureP99({ target, load: errand.load }, probes),
    busyShare: median(drains.map(({ busyShare }) => busyShare)),
  };
  say(`  ${x}: ${Math.round(point.tasksPerSecond)}/s, p99 ${point.p99Ms.toFixed(1)} ms`);
  return point;
}

/**
 * Adds tasks at the end of the queue and times as many calls from its beginning on. What was called
 * beyond them, before the pause came, is added too, so that what lies behind them stays as much.
 */
async function drainOnce(system: System, tasks: number, payloadBytes?: number) {
  const { errand, target } = system;
  await errand.client.queues.pause(QUEUE);
  await errand.load.batches(QUEUE, tasks, payloadBytes);
  const drain = await timeDrain(target, tasks, () => errand.client.queues.resume(QUEUE));
  await errand.client.queues.pause(QUEUE);
  await untilQuiet(system);
  const beyond = (await target.ask.count()) - tasks;
  if (beyond > 0) await errand.load.batches(QUEUE, beyond, payloadBytes);
  return drain;
}

/** Until what had been claimed before the pause has been settled. */
async function untilQuiet({ sql }: System): Promise<void> {
  const endMs = performance.now() + PATIENCE_MS;
  while (performance.now() < endMs) {
    const [row] = await sql<{ isQuiet: boolean }[]>`
      select not exists (select from errand.lease) as "isQuiet"`;
    if (row!.isQuiet) return;
    await pause(QUIET_CHECK_MS);
  }
  throw new Error(`Calls were not settled within ${PATIENCE_MS} ms of the pause`);
}

async function addProbedQueue({ sql }: System): Promise<void> {
  const settings = JSON.stringify({ rateLimits: RATE_LIMITS });
  await sql`
    insert into errand.queue (project, name, shard, settings)
    select project, ${PROBED}, shard, ${settings}::text::jsonb from errand.queue where name = ${QUEUE}`;
}
