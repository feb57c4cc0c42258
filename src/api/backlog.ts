import type { QueueRecord } from '../model.ts';
import { countBacklog } from '../store/backlog.ts';
import type { Database } from '../store/database.ts';
import { ProblemError } from './problem.ts';
import { createTtlCache } from './ttl-cache.ts';

const LIMITS = { ttlMs: 1_000, maxEntries: 10_000 };

/**
 * Keeps queues at their `maxBacklog`. A queue's tasks are counted at most once a second, and what this
 * process enqueues until the next count is added. So one process passes the limit by no more than what
 * it has in flight at a count, and all of them by at most a second of the others' enqueues. What is
 * dispatched meanwhile makes room at the next count. A queue without the limit costs nothing.
 */
export interface Backlog {
  /** Takes room for up to `wanted` new tasks. */
  reserve(queue: QueueRecord, wanted: number): Promise<Room>;
}

export interface Room {
  /** How many of the tasks may be enqueued. */
  places: number;
  /** For tasks that were not made after all. */
  giveBack(unused: number): void;
}

/** `nowMs` is a monotonic clock. */
export function createBacklog(database: Database, nowMs?: () => number): Backlog {
  const cache = createTtlCache(
    LIMITS,
    async (key) => {
      const [id = 0, shard = 0, purging = 0, max = 0] = key.split('/').map(Number);
      const queue = { id, shard, isPurging: purging === 1 };
      return { waiting: await database.run((sql) => countBacklog(sql, queue, max)) };
    },
    nowMs,
  );

  return {
    async reserve({ id, shard, isPurging, settings }, wanted) {
      const { maxBacklog } = settings;
      if (maxBacklog === null) return { places: wanted, giveBack() {} };
      const key = [id, shard, Number(isPurging), maxBacklog].join('/');
      const count = (await cache.get(key))!;
      const places = Math.max(0, Math.min(wanted, maxBacklog - count.waiting));
      count.waiting += places;
      return {
        places,
        giveBack(unused) {
          count.waiting -= unused;
        },
      };
    },
  };
}

export function queueFull({ name, settings }: QueueRecord): ProblemError {
  return new ProblemError(
    'queue-full',
    `Queue "${name}" has its maxBacklog of ${settings.maxBacklog} waiting tasks; repeat the request later`,
    {},
    // It is counted anew by then.
    { 'retry-after': '1' },
  );
}
