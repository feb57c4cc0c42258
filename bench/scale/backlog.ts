import type { Options } from './options.ts';
import { openPreload, type Preload } from './preload.ts';
import { type Point, powersOfTen, type Series } from './series.ts';
import { measurePoint, withSystem } from './system.ts';

/** Tasks that wait in the queue behind those that are drained. */
export async function measureBacklog(options: Options): Promise<Series> {
  const points = await withSystem(options, async (system) => {
    const { errand, target, say, cleanup } = system;
    const preload = openPreload({ ...errand, url: target.url }, say, cleanup);
    const points: Point[] = [];
    let waiting = 0;
    for (const size of powersOfTen(3, 7, options.largest)) {
      await grow(preload, size - waiting);
      waiting = size;
      points.push(await measurePoint(system, size, options));
    }
    return points;
  });
  return {
    title: 'Backlog: tasks that are ready behind the drained ones',
    unit: 'ready tasks',
    isLogarithmic: true,
    ideal: 'flat',
    points,
  };
}

async function grow(preload: Preload, tasks: number): Promise<void> {
  await preload.ready(tasks);
  await preload.settle();
}
