import type { Demo } from './demo.ts';

const QUEUE = 'probe';

/**
 * Milliseconds from the 201 in our hands to the first byte at the worker, for single tasks one after
 * another on an idle queue, ascending. Both moments are of the machine's monotonic clock. One below 0
 * means that the call arrived before we had read our 201.
 */
export async function probeLatency({ client, worker }: Demo, samples: number): Promise<number[]> {
  await client.queues.put(QUEUE);
  const latencies: number[] = [];
  for (let i = 0; i < samples; i++) {
    const { id } = await client.enqueue(QUEUE, { url: `${worker.url}/probe`, payload: String(i) });
    const answered = process.hrtime.bigint();
    latencies.push(Number((await worker.arrival(id)) - answered) / 1e6);
  }
  return latencies.sort((a, b) => a - b);
}

/** The value that `share` (0 to 1) of the sorted values do not exceed: the nearest rank. */
export function quantile(sorted: readonly number[], share: number): number {
  return sorted[Math.max(0, Math.ceil(share * sorted.length) - 1)] ?? Number.NaN;
}
