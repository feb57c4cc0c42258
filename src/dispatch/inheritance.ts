import type { QueueRecord } from '../model.ts';
import type { Database } from '../store/database.ts';
import { countForeignLeases, type OwnedShard } from '../store/ownership.ts';
import type { DatabaseClock } from './database-clock.ts';
import type { Owned } from './ownership.ts';
import type { Inheritance, QueueState } from './queue-state.ts';

export interface Inheritances {
  /** Reads what the owners before us have in flight; before anything of these shards is claimed. */
  prepare(taken: readonly OwnedShard[]): Promise<void>;
  /** Looks again, while there is any; `states` of queues that are known are brought up to date. */
  refresh(states: readonly QueueState[]): Promise<void>;
  /** What is left of a queue; null when its shard is not ours. */
  of(record: QueueRecord): Inheritance | null;
}

/** A queue that came from another pool this recently may have spent tokens that nobody handed over. */
const POOL_CHANGE_MS = 3_600_000;

/**
 * What an owner takes over with a queue. A graceful owner leaves the levels of its buckets; after a
 * crash every bucket starts empty, which may dispatch too little and never too much. Calls of the owner
 * before count against the concurrency until their leases are settled.
 */
export function createInheritances(options: {
  database: Database;
  clock: DatabaseClock;
  shards: () => ReadonlyMap<number, Owned>;
}): Inheritances {
  const { database, clock } = options;
  let foreign = new Map<number, number>();

  function tokensOf(record: QueueRecord, owned: Owned): number | undefined {
    const nowMs = clock.now();
    // Made after we came: nobody had it before us.
    if (record.createdAt.getTime() > owned.takenAtMs && record.poolChangedAt === null)
      return undefined;
    if (nowMs - (record.poolChangedAt?.getTime() ?? 0) < POOL_CHANGE_MS) return 0;
    if (owned.handover === null) return 0;
    const level = owned.handover.levels[record.id];
    if (level === undefined) return undefined;
    const { maxBurstSize, maxDispatchesPerSecond } = record.settings.rateLimits;
    const passed = Math.max(0, nowMs / 1000 - owned.handover.at);
    return Math.min(maxBurstSize, level + passed * maxDispatchesPerSecond);
  }

  /** The latest that anyone before us can have dispatched something; 0 = never. */
  function lastDispatchSeconds(record: QueueRecord, owned: Owned): number {
    const movedSeconds = (record.poolChangedAt?.getTime() ?? 0) / 1000;
    if (record.createdAt.getTime() > owned.takenAtMs) return movedSeconds;
    return Math.max(movedSeconds, owned.handover?.at ?? owned.takenAtMs / 1000);
  }

  return {
    async prepare(taken) {
      const counted = await database.run((sql) => countForeignLeases(sql, taken));
      for (const [queue, leases] of counted) foreign.set(queue, leases);
    },
    async refresh(states) {
      if (foreign.size === 0) return;
      const taken = [...options.shards()].map(([shard, { takenEpoch }]) => ({
        shard,
        epoch: takenEpoch,
      }));
      foreign = await database.run((sql) => countForeignLeases(sql, taken));
      for (const state of states) state.foreign = foreign.get(state.record.id) ?? 0;
    },
    of(record) {
      const owned = options.shards().get(record.shard);
      if (owned === undefined) return null;
      const tokens = tokensOf(record, owned);
      return {
        foreign: foreign.get(record.id) ?? 0,
        quietSeconds: clock.now() / 1000 - lastDispatchSeconds(record, owned),
        ...(tokens === undefined ? {} : { tokens }),
      };
    },
  };
}
