import type { QueueRecord } from '../model.ts';
import type { Database } from '../store/database.ts';
import {
  countForeignLeases,
  type FlowFilling,
  type OwnedShard,
  type TimedLevel,
} from '../store/ownership.ts';
import type { DatabaseClock } from './database-clock.ts';
import { grown } from './handover.ts';
import type { Owned } from './ownership.ts';
import type { Inheritance, QueueState } from './queue-state.ts';

export interface Inheritances {
  /** Reads what the owners before us have in flight; before anything of these shards is claimed. */
  prepare(taken: readonly OwnedShard[]): Promise<void>;
  /**
   * Looks again, while there is any, and brings the queues up to date that are known by the time of the answer:
   * one that became known meanwhile has what was counted before.
   */
  refresh(states: () => readonly QueueState[]): Promise<void>;
  /** What is left of a queue; null when its shard is not ours. */
  of(record: QueueRecord): Inheritance | null;
}

/** A queue that came from another pool this recently may have spent tokens that nobody handed over. */
const POOL_CHANGE_MS = 3_600_000;

/**
 * What an owner takes over with a queue. A graceful owner leaves the levels of its buckets; after a
 * crash every bucket was empty then, which may dispatch too little and never too much. Calls of the owner
 * before count against the concurrency until their leases are settled.
 */
export function createInheritances(options: {
  database: Database;
  clock: DatabaseClock;
  shards: () => ReadonlyMap<number, Owned>;
}): Inheritances {
  const { database, clock } = options;
  // Shard → the epoch it was last taken with: leases from before it are not of this ownership.
  const epochs = new Map<number, string>();
  let foreign = new Map<number, number>();
  let preparations = 0;

  function tokensOf(record: QueueRecord, owned: Owned): number {
    const { maxBurstSize, maxDispatchesPerSecond } = record.settings.rateLimits;
    const nowMs = clock.now();
    if (nowMs - movedSeconds(record) * 1000 < POOL_CHANGE_MS) return 0;
    const { level, at } = lastLevel(record, owned);
    const passed = Math.max(0, nowMs / 1000 - at);
    return Math.min(maxBurstSize, level + passed * maxDispatchesPerSecond);
  }

  /** A queue that no owner before us knew of was empty at worst when one of them last may have had it. */
  function lastLevel(record: QueueRecord, owned: Owned): TimedLevel {
    const { handover } = owned;
    const level = handover?.levels[record.id];
    const known = level === undefined ? handover?.older?.[record.id] : { level, at: handover!.at };
    if (known !== undefined && known.at > movedSeconds(record)) return known;
    return { level: 0, at: lastDispatchSeconds(record, owned) };
  }

  /** The latest that anyone before us can have dispatched something from a queue nobody told of; 0 = never. */
  function lastDispatchSeconds(record: QueueRecord, { handover, takenAtMs }: Owned): number {
    const since = handover === null ? takenAtMs / 1000 : (handover.since ?? handover.at);
    const isNew = record.createdAt.getTime() / 1000 > since;
    return Math.max(movedSeconds(record), isNew ? 0 : since);
  }

  function fillingOf(record: QueueRecord, { handover }: Owned): FlowFilling | undefined {
    const left = handover?.flows?.[record.id];
    if (handover === null || left === undefined || movedSeconds(record) >= handover.at)
      return undefined;
    return grown(left, clock.now() / 1000 - handover.at);
  }

  return {
    async prepare(taken) {
      for (const { shard, epoch } of taken) epochs.set(shard, epoch);
      const counted = await database.run((sql) => countForeignLeases(sql, taken));
      for (const [queue, leases] of counted) foreign.set(queue, leases);
      preparations += 1;
    },
    async refresh(states) {
      if (foreign.size === 0) return;
      const preparation = preparations;
      const taken = [...epochs].map(([shard, epoch]) => ({ shard, epoch }));
      const counted = await database.run((sql) => countForeignLeases(sql, taken));
      // It may know nothing of shards that were taken meanwhile; the next look does.
      if (preparation !== preparations) return;
      foreign = counted;
      for (const state of states()) state.foreign = foreign.get(state.record.id) ?? 0;
    },
    of(record) {
      const owned = options.shards().get(record.shard);
      if (owned === undefined) return null;
      return {
        tokens: tokensOf(record, owned),
        foreign: foreign.get(record.id) ?? 0,
        quietSeconds: clock.now() / 1000 - lastDispatchSeconds(record, owned),
        flow: fillingOf(record, owned),
      };
    },
  };
}

/** When it came from another pool; 0 = it was here from the start. */
function movedSeconds({ poolChangedAt }: QueueRecord): number {
  return (poolChangedAt?.getTime() ?? 0) / 1000;
}
