import { DEFAULT_PROJECT, SHARDS } from '../../src/model.ts';
import type { Cluster } from './cluster.ts';
import type { Limit } from './windows.ts';

/** A queue under measurement. What it does not limit is not limited. */
export interface MeasuredQueue {
  /** Of the whole queue, or of each of its flow keys where it has some. */
  rate: Limit | null;
  concurrency: number | null;
  /** What its one limit is lowered to for a while; null = it stays as it is. */
  lowered: number | null;
  /** Flow keys, each with what a call of it takes; null = those of the target's choosing. */
  keys: Record<string, number | null> | null;
}

/** The calls of two keys take so long that places run out before tokens do. */
const LONG_CALL_MS = 300;

export const MEASURED: Record<string, MeasuredQueue> = {
  rate: { rate: { ratePerSecond: 50, burst: 10 }, concurrency: null, lowered: 20, keys: null },
  concurrency: { rate: null, concurrency: 7, lowered: 3, keys: null },
  slow: { rate: { ratePerSecond: 0.2, burst: 1 }, concurrency: null, lowered: null, keys: null },
  flow: {
    rate: { ratePerSecond: 10, burst: 5 },
    concurrency: 2,
    lowered: null,
    keys: { a: null, b: null, c: null, d: null, long1: LONG_CALL_MS, long2: LONG_CALL_MS },
  },
};

const UNLIMITED = {
  maxDispatchesPerSecond: 1_000_000,
  maxBurstSize: 1_000_000,
  maxConcurrentDispatches: 10_000,
};
/** Calls take 35 ms in the mean. */
const CALLS_PER_SECOND_AND_PLACE = 1000 / 35;
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
  for (const [name, queue] of Object.entries(MEASURED)) {
    await client.queues.pause(name);
    await client.queues.patch(name, settingsOf(queue));
    const { rate, concurrency } = queue;
    const perSecond = rate?.ratePerSecond ?? concurrency! * CALLS_PER_SECOND_AND_PLACE;
    const count = Math.ceil(perSecond * seconds * 1.2) + 20;
    await enqueue(client, name, tasksOf(queue, `${targetUrl}/${name}`, count));
  }
  await Promise.all(names.map((name) => client.queues.resume(name)));
}

/** The limit that is changed live, as the body of a PATCH. */
export function limitSetting({ rate }: MeasuredQueue, limit: number) {
  return {
    rateLimits: rate ? { maxDispatchesPerSecond: limit } : { maxConcurrentDispatches: limit },
  };
}

function settingsOf({ rate, concurrency, keys }: MeasuredQueue) {
  const limits = {
    ...(rate && { maxDispatchesPerSecond: rate.ratePerSecond, maxBurstSize: rate.burst }),
    ...(concurrency && { maxConcurrentDispatches: concurrency }),
  };
  if (keys === null) return { rateLimits: { ...UNLIMITED, ...limits } };
  return { rateLimits: UNLIMITED, flow: limits };
}

/** The keys take turns, so that each has work until the end. */
function tasksOf({ keys }: MeasuredQueue, url: string, count: number) {
  if (keys === null) return Array.from({ length: count }, () => ({ url, payload: '' }));
  const round = Object.entries(keys).map(([flowKey, workMs]) => ({
    url: `${url}/${flowKey}${workMs ? `?workMs=${workMs}` : ''}`,
    payload: '',
    flowKey,
  }));
  return Array.from({ length: count }, () => round).flat();
}

async function enqueue(
  client: Cluster['client'],
  queue: string,
  tasks: ReturnType<typeof tasksOf>,
): Promise<void> {
  for (let from = 0; from < tasks.length; from += BATCH) {
    const items = await client.enqueueBatch(queue, tasks.slice(from, from + BATCH));
    const refused = items.find(({ status }) => status !== 201);
    if (refused) throw new Error(`A task was refused: ${JSON.stringify(refused)}`);
  }
}
