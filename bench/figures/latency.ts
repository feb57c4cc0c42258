import { setTimeout as pause } from 'node:timers/promises';
import { bounded } from '../bounded.ts';
import type { RowName } from '../row.ts';
import type { Bench, Row, Target } from '../start.ts';
import { quantile, type Say } from '../statistics.ts';

/** Milliseconds. */
export interface Quantiles {
  p50: number;
  p99: number;
}

export interface Latency {
  /** From the moment that the task was known to be kept. Below 0: the call came before the answer was read. */
  fromAcknowledged: Quantiles;
  /** From before the enqueue. */
  fromSent: Quantiles;
}

export type LatencyFigures = Partial<Record<RowName, Latency>>;

const WARM_UP = 50;
const PAUSE_MS = { least: 10, most: 30 };
const PATIENCE_MS = 30_000;

/**
 * Single tasks one after another through an idle queue, until the first byte of their call. Every moment
 * is of the machine's monotonic clock, which all processes share.
 */
export async function measureLatency(
  { target, rows }: Bench,
  { samples, say }: { samples: number; say: Say },
): Promise<LatencyFigures> {
  const figures: LatencyFigures = {};
  await target.ask.stamp(true);
  for (const row of rows.filter(({ hasQueue }) => hasQueue)) {
    await row.ask.listen!();
    await sample(target, row, WARM_UP);
    const latency = await sample(target, row, samples);
    await row.ask.leave!();
    figures[row.name] = latency;
    const { p50, p99 } = latency.fromSent;
    say(`latency  ${row.name.padEnd(16)} ${p50.toFixed(1)} / ${p99.toFixed(1)} ms`);
  }
  await target.ask.stamp(false);
  return figures;
}

async function sample(target: Target, row: Row, samples: number): Promise<Latency> {
  const sent: number[] = [];
  const acknowledged: number[] = [];
  for (let taken = 0; taken < samples; taken += 1) {
    const { taskId, sentNs, acknowledgedNs } = await row.ask.enqueue!();
    const arrivedNs = await bounded(
      target.ask.arrival(taskId),
      PATIENCE_MS,
      `${row.name}: a task was not called`,
    );
    sent.push(Number(arrivedNs - sentNs) / 1e6);
    acknowledged.push(Number(arrivedNs - acknowledgedNs) / 1e6);
    // Of changing length, so that no timer of the row's keeps step with it.
    await pause(PAUSE_MS.least + Math.random() * (PAUSE_MS.most - PAUSE_MS.least));
  }
  return { fromSent: quantilesOf(sent), fromAcknowledged: quantilesOf(acknowledged) };
}

function quantilesOf(values: number[]): Quantiles {
  return { p50: quantile(values, 0.5), p99: quantile(values, 0.99) };
}
