import type { WakeUp } from '../model.ts';
import type { Database } from '../store/database.ts';
import { type LeaseToPostpone, postponeTasks } from '../store/postpone.ts';
import { createShardBatcher, withFirst } from './shard-batcher.ts';

/** Puts one lease off, with others of its shard; returns the wake-ups of those that went with it. */
export type Postponer = (lease: LeaseToPostpone & { shard: number }) => Promise<WakeUp[]>;

/**
 * Puts tasks off in batches: when a breaker opens, all that was claimed for its origin goes back at once.
 * Rejects when the database is away: its leases are found as lost when they end.
 */
export function createPostponer(database: Database): Postponer {
  return createShardBatcher<LeaseToPostpone & { shard: number }, WakeUp[]>({
    async run(shard, leases) {
      return withFirst(leases, await database.run((sql) => postponeTasks(sql, shard, leases)));
    },
  });
}
