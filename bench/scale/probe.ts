import { setTimeout as pause } from 'node:timers/promises';
import { bounded } from '../bounded.ts';
import type { Remote } from '../child.ts';
import type { LoadVerbs } from '../load-client.ts';
import type { Target } from '../start.ts';
import { quantile } from '../statistics.ts';

export interface Probes {
  /** In turn. */
  queues: readonly string[];
  samples: number;
  /** Default: that of every row. */
  payloadBytes?: number;
}

const PAUSE_MS = { least: 5, most: 15 };
const WARM_UP = 30;
const PATIENCE_MS = 30_000;

/** The p99 of `probe`, after some that warm up. */
export async function measureP99(
  { target, load }: { target: Target; load: Remote<LoadVerbs> },
  probes: Probes,
): Promise<number> {
  const samples = WARM_UP + probes.samples;
  const latencies = await probe({ target, load }, { ...probes, samples });
  return quantile(latencies.slice(WARM_UP), 0.99);
}

/** Milliseconds from before a task is sent until the first byte of its call, of tasks one after another. */
export async function probe(
  { target, load }: { target: Target; load: Remote<LoadVerbs> },
  { queues, samples, payloadBytes }: Probes,
): Promise<number[]> {
  const latencies: number[] = [];
  await target.ask.stamp(true);
  for (let taken = 0; taken < samples; taken += 1) {
    const queue = queues[taken % queues.length]!;
    const { taskId, sentNs } = await load.one(queue, payloadBytes);
    const arrivedNs = await bounded(
      target.ask.arrival(taskId),
      PATIENCE_MS,
      `A task of ${queue} was not called`,
    );
    latencies.push(Number(arrivedNs - sentNs) / 1e6);
    // Of changing length, so that no timer of the service's keeps step with it.
    await pause(PAUSE_MS.least + Math.random() * (PAUSE_MS.most - PAUSE_MS.least));
  }
  await target.ask.stamp(false);
  return latencies;
}
