import { setTimeout as pause } from 'node:timers/promises';
import { median } from '../statistics.ts';
import { type Drain, timeDrain } from './drain.ts';
import type { Options } from './options.ts';
import { measureP99 } from './probe.ts';
import { type Point, powersOfTen, type Series } from './series.ts';
import { createQueues, spread } from './spread.ts';
import { type System, withSystem } from './system.ts';

const SAMPLES = 300;
const BETWEEN_ROUNDS_MS = 500;

/** The same tasks, spread over ever more queues on all shards. */
export async function measureQueues(options: Options): Promise<Series> {
  const points = await withSystem(options, async (system) => {
    const points: Point[] = [];
    for (const queues of powersOfTen(0, 4, options.largest)) {
      points.push(await measureSpread(system, queues, options));
    }
    return points;
  });
  return {
    title: 'Queues that the drained tasks are spread over',
    unit: 'queues',
    isLogarithmic: true,
    ideal: 'flat',
    points,
  };
}

async function measureSpread(
  { sql, target, errand, say }: System,
  queues: number,
  { tasks, rounds }: Options,
): Promise<Point> {
  const prefix = `q${queues}-`;
  await createQueues(sql, prefix, queues);
  const drains: Drain[] = [];
  // The first is for the queues to become known to the service.
  for (let round = 0; round <= rounds; round += 1) {
    drains.push(await timeDrain(target, tasks, () => spread(sql, target.url, prefix, tasks)));
    await pause(BETWEEN_ROUNDS_MS);
  }
  const measured = drains.slice(1);
  const names = Array.from({ length: queues }, (_, n) => `${prefix}${n}`);
  const probes = { queues: names, samples: SAMPLES };
  const point = {
    x: queues,
    tasksPerSecond: median(measured.map(({ tasksPerSecond }) => tasksPerSecond)),
    p99Ms: await measureP99({ target, load: errand.load }, probes),
    busyShare: median(measured.map(({ busyShare }) => busyShare)),
  };
  say(`  ${queues}: ${Math.round(point.tasksPerSecond)}/s, p99 ${point.p99Ms.toFixed(1)} ms`);
  return point;
}
