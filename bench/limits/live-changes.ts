import { setTimeout as pause } from 'node:timers/promises';
import type { Cluster } from './cluster.ts';
import { limitSetting, MEASURED } from './measured-queues.ts';
import type { LimitChange } from './phases.ts';
import { monotonicMs } from './sighting.ts';

/** How long a changed limit stays: a second to be in force, and the rest to be judged by. */
const STAYS_MS = 6_000;

/** What `changeLimits` takes. */
export const LIVE_CHANGES_SECONDS = (2 * STAYS_MS) / 1000;

/** Lowers the limits that are to be changed live, by PATCH, and raises them again. */
export async function changeLimits(
  { client }: Cluster,
  say: (line: string) => void,
): Promise<LimitChange[]> {
  const changes: LimitChange[] = [];
  const changeAll = async (isLowered: boolean) => {
    const patches = Object.entries(MEASURED).map(async ([name, queue]) => {
      const { lowered, rate, concurrency } = queue;
      if (lowered === null) return;
      const usual = rate?.ratePerSecond ?? concurrency!;
      const [from, to] = isLowered ? [usual, lowered] : [lowered, usual];
      const sentMs = monotonicMs();
      await client.queues.patch(name, limitSetting(queue, to));
      changes.push({ queue: name, from, to, sentMs, answeredMs: monotonicMs() });
      say(`PATCH ${name} ${from} → ${to}`);
    });
    await Promise.all(patches);
    await pause(STAYS_MS);
  };
  await changeAll(true);
  await changeAll(false);
  return changes;
}
