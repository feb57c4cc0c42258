import { setTimeout as delay } from 'node:timers/promises';
import type { Log } from '../log.ts';
import type { Database } from '../store/database.ts';
import { isDayOver, thinDay } from '../store/housekeeping.ts';
import { dropDay, listEndedDays } from '../store/partitions.ts';

export interface Retention {
  /** Drops the days that are over, and thins those that a few survivors hold. */
  endDays(): Promise<void>;
  /** What is under way ends with its statement. */
  stop(): void;
}

const BATCH = 1_000;
const DAY_MS = 86_400_000;
/** Thinning looks at every row of a day, so it takes no more than this share of the time. */
const THIN_SHARE = 1 / 10;
const LONGEST_PAUSE_MS = 500;
const FIRST_ROW = { shard: -1, task: '00000000-0000-0000-0000-000000000000' };

/**
 * What becomes of past days. What is past its retention is hidden by time alone, so this only frees space:
 * each day is thinned once in 24 hours, and slowly, for most are dropped whole before there is anything to
 * thin. `monotonic` in milliseconds.
 */
export function createRetention(options: {
  database: Database;
  log: Log;
  monotonic?: () => number;
}): Retention {
  const { database, log, monotonic = () => performance.now() } = options;
  // Day → when it was thinned to its end.
  const thinned = new Map<string, number>();
  let isStopped = false;

  async function end(day: string): Promise<void> {
    const isOver = await database.run((sql) => isDayOver(sql, day), { timeoutMs: 60_000 });
    if (!isOver) return thin(day);
    await database.run((sql) => dropDay(sql, day), { timeoutMs: 10_000 });
    thinned.delete(day);
    log.info({ day }, 'day dropped: nothing in it is live or retained');
  }

  async function thin(day: string): Promise<void> {
    if (monotonic() - (thinned.get(day) ?? Number.NEGATIVE_INFINITY) < DAY_MS) return;
    let after = FIRST_ROW;
    while (!isStopped) {
      const sentMs = performance.now();
      const batch = await database.run((sql) => thinDay(sql, day, { after, limit: BATCH }));
      if (batch.next === null) return void thinned.set(day, monotonic());
      after = batch.next;
      const restMs = (performance.now() - sentMs) * (1 / THIN_SHARE - 1);
      await delay(Math.min(restMs, LONGEST_PAUSE_MS));
    }
  }

  return {
    /** The oldest day first. */
    async endDays() {
      for (const day of await database.run(listEndedDays)) {
        if (isStopped) return;
        await end(day);
      }
    },
    stop() {
      isStopped = true;
    },
  };
}
