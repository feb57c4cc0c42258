import type { QueueRecord } from '../model.ts';
import { countBacklog } from '../store/backlog.ts';
import type { Database } from '../store/database.ts';
import type { Enqueued, NewTask } from '../store/enqueue.ts';
import { findRepeats } from '../store/enqueue-named.ts';
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
  /** Takes room for new tasks. The repeat of a request needs none: it has made its task already. */
  admit(queue: QueueRecord, tasks: readonly NewTask[]): Promise<Admission>;
}

export interface Admission {
  /** The tasks that may be enqueued, in their order. */
  accepted: NewTask[];
  /** Of the others: what a repeated request came to before, or `queue-full`. */
  answers: Map<NewTask, Enqueued | ProblemError>;
  /** For accepted tasks that were not made after all. */
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
    async admit(queue, tasks) {
      const { id, shard, isPurging, settings } = queue;
      const { maxBacklog } = settings;
      if (maxBacklog === null) return { accepted: [...tasks], answers: new Map(), giveBack() {} };
      const key = [id, shard, Number(isPurging), maxBacklog].join('/');
      const count = (await cache.get(key))!;
      // Only where there is too little room is it worth a statement to know who needs none.
      const isShort = maxBacklog - count.waiting < tasks.length;
      const repeats = isShort
        ? await database.run((sql) => findRepeats(sql, tasks))
        : new Map<NewTask, Enqueued>();
      const fresh = tasks.filter((task) => !repeats.has(task));
      const places = Math.max(0, Math.min(fresh.length, maxBacklog - count.waiting));
      count.waiting += places;
      const refused = fresh.slice(places).map((task) => [task, queueFull(queue)] as const);
      return {
        accepted: fresh.slice(0, places),
        answers: new Map<NewTask, Enqueued | ProblemError>([...repeats, ...refused]),
        giveBack(unused) {
          count.waiting -= unused;
        },
      };
    },
  };
}

/** It is counted anew by then. */
const RETRY_AFTER_SECONDS = 1;

function queueFull({ name, settings }: QueueRecord): ProblemError {
  return new ProblemError(
    'queue-full',
    `Queue "${name}" has its maxBacklog of ${settings.maxBacklog} waiting tasks; repeat the request later`,
    { retryAfterSeconds: RETRY_AFTER_SECONDS },
    { 'retry-after': String(RETRY_AFTER_SECONDS) },
  );
}
