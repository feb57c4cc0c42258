import type { Options } from './options.ts';
import { openPreload } from './preload.ts';
import { type Point, powersOfTen, type Series } from './series.ts';
import { measurePoint, withSystem } from './system.ts';

/** Drain of a system that holds a lot in every room, as a share of that of the same system when empty. */
export interface Everything {
  ready: number;
  scheduled: number;
  finished: number;
  empty: Point;
  full: Point;
}

/** Tasks that have ended and are retained; then, beside them, as many scheduled and a tenth as many ready. */
export async function measureHistory(
  options: Options,
): Promise<{ series: Series; everything: Everything }> {
  return withSystem(options, async (system) => {
    const { errand, target, say, cleanup } = system;
    const { largest } = options;
    const preload = openPreload({ ...errand, url: target.url }, say, cleanup);
    const empty = await measurePoint(system, 0, options);
    const points: Point[] = [];
    let finished = 0;
    for (const size of powersOfTen(5, 7, largest)) {
      await preload.finished(size - finished);
      await preload.settle();
      finished = size;
      points.push(await measurePoint(system, size, options));
    }
    await preload.scheduled(largest);
    await preload.ready(largest / 10);
    await preload.settle();
    say('  and everything else with it');
    const full = await measurePoint(system, largest, options);
    return {
      series: {
        title: 'History: tasks that have ended and are retained',
        unit: 'finished tasks',
        isLogarithmic: true,
        ideal: 'flat',
        points,
      },
      everything: { ready: largest / 10, scheduled: largest, finished, empty, full },
    };
  });
}
