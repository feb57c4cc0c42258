import type { QueueRecord } from '../model.ts';
import type { Database } from '../store/database.ts';
import { findQueue } from '../store/queue.ts';
import { createTtlCache } from './ttl-cache.ts';

const LIMITS = { ttlMs: 1_000, maxEntries: 10_000 };

/** Queues by name, at most a second old: so that an enqueue is one statement, not two. */
export interface QueueCache {
  /** Null when the project has no such queue. */
  get(project: string, name: string): Promise<QueueRecord | null>;
  /** Called after a change of this process, so that it is seen at once. */
  forget(project: string, name: string): void;
}

/** `nowMs` is a monotonic clock. */
export function createQueueCache(database: Database, nowMs?: () => number): QueueCache {
  const cache = createTtlCache(
    LIMITS,
    (key) => {
      const [project = '', name = ''] = key.split('/');
      return database.run((sql) => findQueue(sql, project, name));
    },
    nowMs,
  );
  return {
    get: (project, name) => cache.get(`${project}/${name}`),
    forget: (project, name) => cache.forget(`${project}/${name}`),
  };
}
