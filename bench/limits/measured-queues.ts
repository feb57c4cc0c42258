import { DEFAULT_PROJECT, SHARDS } from '../../src/model.ts';
import type { Cluster } from './cluster.ts';
import type { Limit } from './windows.ts';

/** The queues under measurement. What a limit does not name does not limit. */
export const MEASURED: Record<string, { rate: Limit | null; concurrency: number | null }> = {
  rate: { rate: { ratePerSecond: 50, burst: 10 }, concurrency: null },
  concurrency: { rate: null, concurrency: 7 },
  slow: { rate: { ratePerSecond: 0.2, burst: 1 }, concurrency: null },
};

const UNLIMITED = {
  maxDispatchesPerSecond: 1_000_000,
  maxBurstSize: 1_000_000,
  maxConcurrentDispatches: 10_000,
};
/** Calls take 35 ms in the mean. */
const CALLS_PER_SECOND_AND_SLOT = 1000 / 35;
const BATCH = 1_000;
/** One for all of them, so that whatever becomes of its owner happens to each. */
const SHARD = SHARDS - 1;

/** Makes the measured queues, and gives each more work than it may do in this time. */
export async function fillMeasuredQueues(
  { client, sql }: Cluster,
  targetUrl: string,
  seconds: number,
): Promise<void> {
  const names = Object.keys(MEASURED);
  for (const name of names) {
    await sql`insert into errand.queue (project, name, shard)
      values (${DEFAULT_PROJECT}, ${name}, ${SHARD})`;
  }
  for (const [queue, { rate, concurrency }] of Object.entries(MEASURED)) {
    await client.queues.pause(queue);
    const perSecond = rate?.ratePerSecond ?? concurrency! * CALLS_PER_SECOND_AND_SLOT;
    const tasks = Math.ceil(perSecond * seconds * 1.2) + 20;
    await enqueue(client, queue, `${targetUrl}/${queue}`, tasks);
    await client.queues.patch(queue, {
      rateLimits: {
        ...UNLIMITED,
        ...(rate && { maxDispatchesPerSecond: rate.ratePerSecond, maxBurstSize: rate.burst }),
        ...(concurrency && { maxConcurrentDispatches: concurrency }),
      },
    });
  }
  await Promise.all(names.map((queue) => client.queues.resume(queue)));
}

async function enqueue(
  client: Cluster['client'],
  queue: string,
  url: string,
  count: number,
): Promise<void> {
  for (let left = count; left > 0; left -= BATCH) {
    const tasks = Array.from({ length: Math.min(left, BATCH) }, () => ({ url, payload: '' }));
    const refused = (await client.enqueueBatch(queue, tasks)).find(({ status }) => status !== 201);
    if (refused) throw new Error(`A task was refused: ${JSON.stringify(refused)}`);
  }
}
