import { hostname } from 'node:os';
import type { QueueRecord } from '../model.ts';
import { createDeathWatch } from '../policy/death-watch.ts';
import type { Database } from '../store/database.ts';
import { isDatabaseAway } from '../store/errors.ts';
import { listOthers } from '../store/drain.ts';
import { strikeDead } from '../store/ownership.ts';

export interface OthersWatch {
  /** True while one lives that could dispatch the queue. */
  isAnyAlive(): boolean;
  stop(): Promise<void>;
}

const LOOKS_PER_TAKEOVER = 10;

/**
 * Watches those who could dispatch a queue: the dispatchers of its pool, and other drains of it. One
 * that has died is struck, as another dispatcher of the pool would, so that its shards are free at
 * once. The first look is over when this returns.
 */
export async function watchOthers(
  database: Database,
  queue: QueueRecord,
  takeoverMs: number,
): Promise<OthersWatch> {
  const deaths = createDeathWatch(takeoverMs);
  let isAnyAlive = true;
  let isStopped = false;
  let timer: NodeJS.Timeout | undefined;

  async function look(): Promise<void> {
    const sentMs = performance.now();
    const others = await database.run((sql) => listOthers(sql, queue, { except: ourselves() }));
    const dead = deaths.observe(others, sentMs, performance.now());
    const struck = dead.length === 0 ? [] : await database.run((sql) => strikeDead(sql, dead));
    isAnyAlive = others.length > struck.length;
  }

  function lookLater(): void {
    timer = setTimeout(() => {
      // What is not seen while the database is away is not judged either.
      void look()
        .catch((error) => {
          if (!isDatabaseAway(error)) throw error;
        })
        .finally(() => {
          if (!isStopped) lookLater();
        });
    }, takeoverMs / LOOKS_PER_TAKEOVER);
  }

  await look();
  lookLater();
  return {
    isAnyAlive: () => isAnyAlive,
    async stop() {
      isStopped = true;
      clearTimeout(timer);
    },
  };
}

/** As which a dispatcher in this process would be registered. */
export function ourselves(): { host: string; pid: number } {
  return { host: hostname(), pid: process.pid };
}
