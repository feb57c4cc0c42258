import type { WakeUp } from '../model.ts';
import type { Database } from '../store/database.ts';
import { isDatabaseAway } from '../store/errors.ts';
import { type LeaseToPostpone, postponeTasks } from '../store/postpone.ts';
import { createShardBatcher } from './shard-batcher.ts';

/** Puts one lease off, with others of its shard; returns the wake-ups of those that went with it. */
export type Postponer = (lease: LeaseToPostpone & { shard: number }) => Promise<WakeUp[]>;

const MAX_BATCH = 300;

/**
 * Puts tasks off in batches: when a breaker opens, all that was claimed for its origin goes back at once.
 * The wake-ups of a batch come with its first lease, so that each is heard once. Rejects when the database
 * is away: its leases are found as lost when they end.
 */
export function createPostponer(database: Database): Postponer {
  return createShardBatcher<LeaseToPostpone & { shard: number }, WakeUp[]>({
    async run(shard, leases) {
      const wakeUps = await database.run((sql) => postponeTasks(sql, shard, leases));
      return leases.map((_, index) => (index === 0 ? wakeUps : []));
    },
    maxItems: MAX_BATCH,
    isItemRefused: (error) => !isDatabaseAway(error),
  });
}
