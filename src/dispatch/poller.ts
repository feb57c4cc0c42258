import type { Log } from '../log.ts';
import type { Database } from '../store/database.ts';
import { isDatabaseAway } from '../store/errors.ts';
import { findWork, type ReadyHead } from '../store/find-work.ts';
import { promoteDue } from '../store/promote.ts';

export interface Poller {
  start(): void;
  /** Something will be due in this many seconds. */
  noteDue(inSeconds: number): void;
  /** Look at everything at once: shards were taken, or notifications may have been missed. */
  lookNow(): void;
  stop(): Promise<void>;
}

export interface PollerOptions {
  database: Database;
  pool: string;
  shards: () => number[];
  monotonic: () => number;
  log: Log;
  onHeads: (heads: readonly ReadyHead[]) => void;
  /** What else is to be looked at now and then. */
  onLook: () => Promise<void>;
}

/** A row that was committed late, or whose wake-up was lost, waits no longer than this. */
const LOOK_INTERVAL_MS = 300;
/** A look may take this share of the time: it gets rarer when dead rows make it dear. */
const LOOK_SHARE = 1 / 10;
/** And no rarer than this: one that only waited for a database in trouble says nothing of the next. */
const MAX_LOOK_INTERVAL_MS = 3_000;
/** Promotions of tasks that fall due one after the other are at least this far apart. */
const MIN_PROMOTION_GAP_MS = 10;
const PROMOTE_BATCH = 1_000;
/** How far back from now a quick promotion looks; only the full look starts from the beginning. */
const QUICK_PROMOTION_SECONDS = 5;

/**
 * Finds work by itself: promotes what is due at the moment it is due, and looks at the head of every
 * queue now and then. Wake-ups make it fast; this makes it certain.
 */
export function createPoller(options: PollerOptions): Poller {
  const { database, monotonic, log } = options;
  let nextLookMs = 0;
  let nextDueMs = Number.POSITIVE_INFINITY;
  let timer: NodeJS.Timeout | undefined;
  let running: Promise<void> | null = null;
  let isStopped = true;

  /** Returns the milliseconds until the next poll. */
  async function poll(): Promise<number> {
    const shards = options.shards();
    const startedMs = monotonic();
    const isLook = startedMs >= nextLookMs - 1;
    if (shards.length > 0) {
      if (isLook) await look(shards);
      else await promote(shards, false);
    }
    if (isLook) {
      const tookMs = monotonic() - startedMs;
      const share = Math.min(tookMs / LOOK_SHARE, MAX_LOOK_INTERVAL_MS);
      nextLookMs = monotonic() + Math.max(LOOK_INTERVAL_MS, share);
    }
    return Math.max(MIN_PROMOTION_GAP_MS, Math.min(nextLookMs, nextDueMs) - monotonic());
  }

  async function look(shards: number[]): Promise<void> {
    const sentMs = monotonic();
    nextDueMs = Number.POSITIVE_INFINITY;
    const found = await database.run((sql) => findWork(sql, options.pool, shards));
    options.onHeads(found.heads);
    await options.onLook();
    if (found.nextDueInSeconds === null) return;
    if (found.nextDueInSeconds <= 0) await promote(shards, true);
    else noteNext(sentMs, found.nextDueInSeconds);
  }

  async function promote(shards: number[], isFull: boolean): Promise<void> {
    const sentMs = monotonic();
    nextDueMs = Number.POSITIVE_INFINITY;
    const promoted = await database.run((sql) =>
      promoteDue(sql, {
        shards,
        limit: PROMOTE_BATCH,
        fromSeconds: isFull ? null : QUICK_PROMOTION_SECONDS,
      }),
    );
    if (promoted.heads.length > 0) options.onHeads(promoted.heads);
    if (promoted.isFull) noteDue(0);
    else if (promoted.nextDueInSeconds !== null) noteNext(sentMs, promoted.nextDueInSeconds);
  }

  /** `inSeconds` from when the statement that told it ran, which was after it was sent. */
  function noteNext(sentMs: number, inSeconds: number): void {
    nextDueMs = Math.min(nextDueMs, sentMs + inSeconds * 1000 + 1);
  }

  function noteDue(inSeconds: number): void {
    nextDueMs = Math.min(nextDueMs, monotonic() + inSeconds * 1000 + 1);
  }

  async function run(): Promise<void> {
    let delayMs = LOOK_INTERVAL_MS;
    try {
      delayMs = await poll();
    } catch (error) {
      const code = (error as { code?: string }).code;
      if (isDatabaseAway(error)) log.warn({ code }, 'poll failed, trying again');
      else log.error({ code, error: String(error) }, 'poll failed');
    }
    running = null;
    schedule(delayMs);
  }

  function schedule(delayMs: number): void {
    if (isStopped || running !== null) return;
    clearTimeout(timer);
    timer = setTimeout(
      () => {
        running = run();
      },
      // Timers cut fractions off, and one that fires early would poll for nothing.
      Math.ceil(Math.min(delayMs, MAX_LOOK_INTERVAL_MS)),
    );
  }

  return {
    start() {
      isStopped = false;
      schedule(0);
    },
    noteDue(inSeconds) {
      const before = Math.min(nextDueMs, nextLookMs);
      noteDue(inSeconds);
      if (nextDueMs < before) schedule(Math.max(MIN_PROMOTION_GAP_MS, nextDueMs - monotonic()));
    },
    lookNow() {
      nextLookMs = 0;
      schedule(0);
    },
    async stop() {
      isStopped = true;
      clearTimeout(timer);
      await running;
    },
  };
}
