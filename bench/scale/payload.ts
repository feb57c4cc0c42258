import type { Options } from './options.ts';
import type { Point, Series } from './series.ts';
import { measurePoint, withSystem } from './system.ts';

const SIZES_KIB = [0.2, 1, 4, 16, 64, 256];
/** Of one drain, so that the largest payloads do not take all day. */
const MOST_MIB = 256;
const FEWEST_TASKS = 500;

export async function measurePayload(options: Options): Promise<Series> {
  const points = await withSystem(options, async (system) => {
    const points: Point[] = [];
    for (const kib of SIZES_KIB) {
      const most = Math.max(FEWEST_TASKS, Math.floor((MOST_MIB * 1024) / kib));
      const tasks = Math.min(options.tasks, most);
      const bytes = Math.round(kib * 1024);
      points.push(await measurePoint(system, kib, { ...options, tasks }, bytes));
    }
    return points;
  });
  return {
    title: 'Payload',
    unit: 'KiB a task',
    isLogarithmic: true,
    ideal: 'flat',
    points,
  };
}
