import { bounded } from '../bounded.ts';
import type { Target } from '../start.ts';
import { busyShareSince, readProcessors } from './processors.ts';

/** Of the calls, those that come before everything runs at once. */
const RAMP_SHARE = 1 / 20;
const PATIENCE_MS = 60_000;

export interface Drain {
  tasksPerSecond: number;
  /** Of all processors together, 0 to 1. */
  busyShare: number;
}

/**
 * Tasks a second as the target sees them, from the moment that a twentieth of them has come until all of
 * them have: so neither "go" nor what lies behind them counts.
 */
export async function timeDrain(
  target: Target,
  tasks: number,
  go: () => Promise<unknown>,
): Promise<Drain> {
  const first = Math.ceil(tasks * RAMP_SHARE);
  await target.ask.reset();
  const started = target.ask.reached(first);
  await go();
  const fromNs = await bounded(started, PATIENCE_MS, `The target did not see ${first} calls`);
  const before = readProcessors();
  const toNs = await bounded(
    target.ask.reached(tasks),
    PATIENCE_MS,
    `The target did not see ${tasks} calls`,
  );
  return {
    tasksPerSecond: (tasks - first) / (Number(toNs - fromNs) / 1e9),
    busyShare: busyShareSince(before),
  };
}
