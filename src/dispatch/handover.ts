import { availableTokens } from '../policy/rate.ts';
import type { FlowFilling, LeftLevels } from '../store/ownership.ts';
import type { Owned } from './ownership.ts';
import type { QueueState } from './queue-state.ts';

/**
 * What the owner of a shard leaves to the next: how the buckets of these queues, all it knows of the
 * shard, stand. Of the others it passes on what it was left itself, for it dispatched nothing from them.
 */
export function levelsLeft(
  states: readonly QueueState[],
  { takenAtMs, handover }: Owned,
  { nowMs, databaseNowMs }: { nowMs: number; databaseNowMs: number },
): LeftLevels {
  const since = handover === null ? takenAtMs / 1000 : (handover.since ?? handover.at);
  const left: LeftLevels = { since, levels: {}, older: { ...handover?.older }, flows: {} };
  for (const [queue, level] of Object.entries(handover?.levels ?? {})) {
    left.older[queue] = { level, at: handover!.at };
  }
  for (const [queue, filling] of Object.entries(handover?.flows ?? {})) {
    left.flows[queue] = grown(filling, databaseNowMs / 1000 - handover!.at);
  }
  for (const { record, bucket, gate, flow } of states) {
    left.levels[record.id] = Math.min(availableTokens(bucket, nowMs), availableTokens(gate, nowMs));
    delete left.older[record.id];
    if (flow === null) delete left.flows[record.id];
    else left.flows[record.id] = flow.filling(nowMs);
  }
  return left;
}

/** The same buckets, so many seconds later. */
export function grown({ keys, others }: FlowFilling, seconds: number): FlowFilling {
  const passed = Math.max(0, seconds);
  const entries = Object.entries(keys).map(([key, filling]) => [key, filling + passed]);
  return { keys: Object.fromEntries(entries), others: others + passed };
}
