import type { Log } from '../log.ts';
import type { Database } from '../store/database.ts';
import { isDatabaseAway } from '../store/errors.ts';
import { type ClaimedPlace, findNextHeads, findWork, type ReadyHead } from '../store/find-work.ts';
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
  /** How far each queue of theirs has been claimed. */
  claimed: () => ClaimedPlace[];
  monotonic: () => number;
  log: Log;
  onHeads: (heads: readonly ReadyHead[]) => void;
  /** What else is to be looked at now and then. */
  onLook: () => Promise<void>;
}

/** A task whose wake-up was lost waits no longer than this, nor does a row that was committed late while looks are cheap. */
const LOOK_INTERVAL_MS = 300;
/** A whole look may take this share of the time: it gets rarer when dead rows make it dear. */
const WHOLE_LOOK_SHARE = 1 / 10;
/** And no rarer than this after one that took long: it may only have waited for a database in trouble. */
const MAX_INTERVAL_AFTER_ONE_MS = 3_000;
const MAX_WHOLE_LOOK_INTERVAL_MS = 60_000;
/**
 * It may walk millions of dead rows, which is no sign of a database that hangs: besides the bound of any statement it
 * has so many times what the last one took.
 */
const LOOK_BOUND_MS = 2_000;
const BOUND_PER_LAST_LOOK = 4;
const MAX_LOOK_BOUND_MS = 30_000;
/** Promotions of tasks that fall due one after the other are at least this far apart. */
const MIN_PROMOTION_GAP_MS = 10;
const PROMOTE_BATCH = 1_000;
/** How far back from now a quick promotion looks; only that of a whole look starts from the beginning. */
const QUICK_PROMOTION_SECONDS = 5;

/**
 * Finds work by itself: promotes what is due at the moment it is due, and looks at the head of every
 * queue now and then. Wake-ups make it fast; this makes it certain. A whole look starts from the very first
 * row. While an old transaction keeps the dead ones it gets rare, and between two of them only what lies past
 * the last claims is looked at.
 */
export function createPoller(options: PollerOptions): Poller {
  const { database, monotonic, log } = options;
  let nextLookMs = 0;
  let nextWholeLookMs = 0;
  let lastTookMs = 0;
  let askedAtMs = Number.NEGATIVE_INFINITY;
  let nextDueMs = Number.POSITIVE_INFINITY;
  let timer: NodeJS.Timeout | undefined;
  let running: Promise<void> | null = null;
  let isStopped = true;

  /** Returns the milliseconds until the next poll. */
  async function poll(): Promise<number> {
    const shards = options.shards();
    const nowMs = monotonic();
    const isLook = nowMs >= nextLookMs - 1;
    try {
      if (shards.length > 0) {
        if (!isLook) await promote(shards, false);
        else if (nowMs >= nextWholeLookMs - 1) await lookWhole(shards);
        else await lookAhead(shards);
      }
    } finally {
      if (isLook) noteLook();
    }
    return Math.max(MIN_PROMOTION_GAP_MS, Math.min(nextLookMs, nextDueMs) - monotonic());
  }

  /** A whole look that is soon due makes another before it needless. */
  function noteLook(): void {
    const nextMs = monotonic() + LOOK_INTERVAL_MS;
    nextWholeLookMs = Math.max(nextWholeLookMs, nextMs);
    nextLookMs = nextWholeLookMs < nextMs + LOOK_INTERVAL_MS ? nextWholeLookMs : nextMs;
  }

  async function lookWhole(shards: number[]): Promise<void> {
    const sentMs = monotonic();
    nextDueMs = Number.POSITIVE_INFINITY;
    try {
      const timeoutMs = Math.min(
        LOOK_BOUND_MS + BOUND_PER_LAST_LOOK * lastTookMs,
        MAX_LOOK_BOUND_MS,
      );
      const found = await database.run((sql) => findWork(sql, options.pool, shards), { timeoutMs });
      options.onHeads(found.heads);
      await options.onLook();
      if (found.nextDueInSeconds === null) return;
      if (found.nextDueInSeconds <= 0) await promote(shards, true);
      else noteNext(sentMs, found.nextDueInSeconds);
    } finally {
      noteWholeLook(sentMs);
    }
  }

  function noteWholeLook(sentMs: number): void {
    const tookMs = monotonic() - sentMs;
    const afterOneMs = Math.min(tookMs / WHOLE_LOOK_SHARE, MAX_INTERVAL_AFTER_ONE_MS);
    const afterTwoMs = Math.min(tookMs, lastTookMs) / WHOLE_LOOK_SHARE;
    lastTookMs = tookMs;
    // Asked for while it was under way, it may not have seen what is meant.
    if (askedAtMs >= sentMs) return;
    const waitMs = Math.min(Math.max(afterOneMs, afterTwoMs), MAX_WHOLE_LOOK_INTERVAL_MS);
    nextWholeLookMs = monotonic() + waitMs;
  }

  async function lookAhead(shards: number[]): Promise<void> {
    const places = options.claimed();
    if (places.length > 0) {
      options.onHeads(await database.run((sql) => findNextHeads(sql, options.pool, places)));
    }
    await options.onLook();
    await promote(shards, false);
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
      else log.error({ error }, 'poll failed');
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
      Math.ceil(delayMs),
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
      askedAtMs = monotonic();
      nextLookMs = 0;
      nextWholeLookMs = 0;
      schedule(0);
    },
    async stop() {
      isStopped = true;
      clearTimeout(timer);
      await running;
    },
  };
}
