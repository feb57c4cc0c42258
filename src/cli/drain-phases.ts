import { createCleanups } from '../cleanups.ts';
import { type Config, defaultPublicUrl } from '../config.ts';
import type { QueueRecord } from '../model.ts';
import type { Database } from '../store/database.ts';
import { countForDrain, countUndone, findNextTasks, listOthers } from '../store/drain.ts';
import { createLog } from './log.ts';
import { ourselves, watchOthers } from './other-dispatchers.ts';

/** The queue to drain, and the database it lies in. */
export interface Place {
  database: Database;
  url: string;
  queue: QueueRecord;
}

/** One way of draining. */
export interface Phase {
  /** True when this process dispatches. */
  isOwn: boolean;
  look(): Promise<Look>;
  /** Leaves nothing of its own in flight. Safe to repeat. */
  stop(): Promise<void>;
  /** Tasks that this process called since the phase began; for sure once it was stopped. */
  called(): number;
}

export interface Look {
  /** Tasks dispatched since the phase began. */
  done: number;
  /** Waiting or in flight. */
  left: number;
  inFlight: number;
  /** Nothing is left, or the limit was reached. */
  isDone: boolean;
  /** It is for the other way of draining to go on. */
  isOver: boolean;
}

const COUNT_BOUND_MS = 30_000;
const DEFAULT_PORT = 8484;

/**
 * Others dispatch. With a limit it is the tasks that came next at the start which are followed; without,
 * what is left tells how many went.
 */
export async function watchPhase(config: Config, place: Place, limit: number): Promise<Phase> {
  const { database, queue } = place;
  const followed = Number.isFinite(limit)
    ? await database.run((sql) => findNextTasks(sql, queue, limit), { timeoutMs: COUNT_BOUND_MS })
    : null;
  const first = await count(place);
  const others = await watchOthers(database, queue, config.takeoverSeconds * 1000);

  async function countDone(left: number): Promise<number> {
    if (followed === null) return Math.max(0, first.left - left);
    return followed.length - (await database.run((sql) => countUndone(sql, queue.shard, followed)));
  }

  return {
    isOwn: false,
    async look() {
      const counts = await count(place);
      const done = await countDone(counts.left);
      return {
        ...counts,
        done,
        isDone: counts.left === 0 || done >= limit,
        isOver: !others.isAnyAlive(),
      };
    },
    stop: others.stop,
    called: () => 0,
  };
}

/**
 * Nobody else does, so this process dispatches, from this queue alone, whose shard is all it takes. It
 * leaves when a dispatcher comes to the pool, for other queues of the shard would wait for it; and when
 * another drain of the queue was faster. One that drains another queue of the shard is waited for: it
 * goes when it is done.
 */
export async function dispatchPhase(config: Config, place: Place, limit: number): Promise<Phase> {
  const { queue } = place;
  const stack = createCleanups();
  const { open, startDispatcher } = await import('../main.ts');
  const logLevel = process.env.ERRAND_LOG_LEVEL ? config.logLevel : 'warn';
  const dispatcher = await startDispatcher(
    // With the URL given it takes no other dispatcher for dead, as on an embedded database it would.
    { ...config, databaseUrl: place.url, pool: queue.pool },
    {
      database: open(place.url, 'errand drain dispatch', 8, stack),
      databaseUrl: place.url,
      publicUrl: config.publicUrl ?? defaultPublicUrl(config.host, DEFAULT_PORT)!,
      log: createLog({ ...config, logLevel }, process.stderr),
      stack,
    },
    { onlyQueue: queue, ...(Number.isFinite(limit) ? { maxDispatches: limit } : {}) },
  );
  let stopping: Promise<void> | undefined;
  return {
    isOwn: true,
    async look() {
      const counts = await count(place);
      const dispatched = dispatcher.dispatched();
      return {
        ...counts,
        done: Math.max(0, dispatched - counts.inFlight),
        isDone: counts.left === 0 || (dispatched >= limit && counts.inFlight === 0),
        isOver: await isServed(place),
      };
    },
    stop() {
      stopping ??= dispatcher.drain(config.drainSeconds * 1000).then(stack.run);
      return stopping;
    },
    called: dispatcher.dispatched,
  };
}

async function count({ database, queue }: Place): Promise<{ left: number; inFlight: number }> {
  const { waiting, leased } = await database.run((sql) => countForDrain(sql, queue), {
    timeoutMs: COUNT_BOUND_MS,
  });
  return { left: waiting + leased, inFlight: leased };
}

/** By a dispatcher, or by a drain of this queue that has its shard already. */
async function isServed({ database, queue }: Place): Promise<boolean> {
  const others = await database.run((sql) => listOthers(sql, queue, { except: ourselves() }));
  return others.some(({ onlyQueue, isOwner }) => onlyQueue === null || isOwner);
}
