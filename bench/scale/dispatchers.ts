import { setTimeout as pause } from 'node:timers/promises';
import { SHARDS } from '../../src/model.ts';
import { type Child, startChild } from '../child.ts';
import { type Cluster, startCluster } from '../limits/cluster.ts';
import type { LoadSettings, LoadVerbs } from '../load-client.ts';
import { runBench } from '../run.ts';
import { median } from '../statistics.ts';
import { timeDrain } from './drain.ts';
import type { Options } from './options.ts';
import { measureP99 } from './probe.ts';
import type { Point, Series } from './series.ts';
import { createQueues, spread } from './spread.ts';
import type { System } from './system.ts';

const MOST = 4;
const QUEUES = 16;
/** Of a call: so each dispatcher is limited by the calls it makes at once (`ERRAND_CONCURRENCY`, 128). */
const CALL_MS = 50;
const CALLS_AT_ONCE = 128;
const DRAIN_SECONDS = 4;
const SAMPLES = 300;
const TAKEOVER_SECONDS = 10;
const BALANCE_CHECK_MS = 100;
const BETWEEN_ROUNDS_MS = 500;

type Station = Pick<System, 'target' | 'say'> & { cluster: Cluster; load: Child<LoadVerbs>['ask'] };

/** Processes that dispatch, over one database; each has the same share of the queues. */
export async function measureDispatchers(options: Options): Promise<Series> {
  const points: Point[] = [];
  await runBench([], async ({ target, folder }, say, cleanup) => {
    const starting = startCluster(folder, TAKEOVER_SECONDS);
    // Also when it is interrupted while it starts; whether it did start is told below.
    cleanup.add(async () => (await starting.catch(() => null))?.stop());
    const cluster = await starting;
    const settings: LoadSettings = {
      port: Number(new URL(cluster.url).port),
      key: cluster.key,
      targetUrl: target.url,
    };
    const args = [JSON.stringify(settings)];
    const load = await startChild<LoadVerbs>('./load-client.ts', args, cleanup);
    await target.ask.takes(CALL_MS);
    for (let dispatchers = 1; dispatchers <= MOST; dispatchers += 1) {
      await cluster.startDispatcher();
      const station = { target, say, cluster, load: load.ask };
      points.push(await measureShared(station, dispatchers, options));
    }
  });
  return {
    title: `Dispatchers: ${QUEUES} queues, a target that takes ${CALL_MS} ms`,
    unit: 'dispatcher processes',
    isLogarithmic: false,
    ideal: 'linear',
    points,
  };
}

async function measureShared(
  { target, say, cluster, load }: Station,
  dispatchers: number,
  { rounds }: Options,
): Promise<Point> {
  const shards = await fairShards(cluster, dispatchers);
  const prefix = `d${dispatchers}-`;
  await createQueues(cluster.sql, prefix, QUEUES, shards);
  const tasks = Math.round((dispatchers * CALLS_AT_ONCE * DRAIN_SECONDS * 1000) / CALL_MS);
  const drains = [];
  // The first is for the queues to become known to their owners.
  for (let round = 0; round <= rounds; round += 1) {
    drains.push(
      await timeDrain(target, tasks, () => spread(cluster.sql, target.url, prefix, tasks)),
    );
    await pause(BETWEEN_ROUNDS_MS);
  }
  const measured = drains.slice(1);
  const queues = Array.from({ length: QUEUES }, (_, n) => `${prefix}${n}`);
  const point = {
    x: dispatchers,
    tasksPerSecond: median(measured.map(({ tasksPerSecond }) => tasksPerSecond)),
    p99Ms: await measureP99({ target, load }, { queues, samples: SAMPLES }),
    busyShare: median(measured.map(({ busyShare }) => busyShare)),
  };
  say(
    `  ${dispatchers}: ${Math.round(point.tasksPerSecond)}/s, p99 ${point.p99Ms.toFixed(1)} ms, ` +
      `processors ${Math.round(point.busyShare * 100)} % busy`,
  );
  return point;
}

/** Waits until the shards are shared evenly; returns one for each queue, of each dispatcher in turn. */
async function fairShards({ sql }: Cluster, dispatchers: number): Promise<number[]> {
  for (;;) {
    const owners = await sql<{ shards: number[] }[]>`
      select to_jsonb(array_agg(shard order by shard)) as shards from errand.ownership
      where dispatcher is not null group by dispatcher`;
    const isFair = owners.every(({ shards }) => shards.length <= Math.ceil(SHARDS / dispatchers));
    const owned = owners.reduce((sum, { shards }) => sum + shards.length, 0);
    if (owners.length === dispatchers && isFair && owned === SHARDS) {
      return Array.from(
        { length: QUEUES },
        (_, n) => owners[n % dispatchers]!.shards[Math.floor(n / dispatchers)]!,
      );
    }
    await pause(BALANCE_CHECK_MS);
  }
}
