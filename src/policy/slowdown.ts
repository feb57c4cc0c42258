/**
 * The share of its rate that a queue has while targets ask to be called less: halved by their asking,
 * given back bit by bit. Additive increase, multiplicative decrease, as in TCP's congestion control
 * (Jacobson, "Congestion Avoidance and Control", 1988): it finds a rate the target bears and stays near.
 *
 * The record is mutable and belongs to one owner. Times are milliseconds of a monotonic clock.
 */
export interface Slowdown {
  /** The share at the last asking. */
  share: number;
  /** When a target last asked, counted at or not. */
  askedAtMs: number;
  /** When the share was last halved. */
  halvedAtMs: number;
}

/** However long targets go on asking, this share of the rate stays: somebody has to find out. */
export const MIN_RATE_SHARE = 1 / 64;

const DECREASE = 1 / 2;
/** Tenths of the rate that come back for each full second in which nobody asked. */
const TENTHS_PER_SECOND = 1;
/** Calls in flight together are answered together: they ask once. */
const DECREASE_EVERY_MS = 1000;
const RECOVERY_STEP_MS = 1000;

/** Statuses by which a target says that it is called too much: 429 and 503 (RFC 6585, RFC 9110). */
const SLOW_DOWN: ReadonlySet<number | null> = new Set([429, 503]);

/** Nothing was asked yet: the share is 1. */
export function createSlowdown(): Slowdown {
  return {
    share: 1,
    askedAtMs: Number.NEGATIVE_INFINITY,
    halvedAtMs: Number.NEGATIVE_INFINITY,
  };
}

/**
 * Takes the status of one answer into account (null = none came) and returns whether it changed the
 * share. A 429 or 503 halves it, at most once a second and never below `MIN_RATE_SHARE`; anything else
 * changes nothing. The answer's `Retry-After` delays its own task besides: see `decideSettlement`.
 *
 * @example
 * ```ts
 * const slowdown = createSlowdown();
 * noteAnswer(slowdown, 503, 0); // true
 * rateShare(slowdown, 0); // 0.5
 * rateShare(slowdown, 2000); // 0.7
 * ```
 */
export function noteAnswer(slowdown: Slowdown, status: number | null, nowMs: number): boolean {
  if (!SLOW_DOWN.has(status)) return false;
  slowdown.share = rateShare(slowdown, nowMs);
  slowdown.askedAtMs = Math.max(slowdown.askedAtMs, nowMs);
  if (nowMs - slowdown.halvedAtMs < DECREASE_EVERY_MS) return false;
  slowdown.share = Math.max(MIN_RATE_SHARE, slowdown.share * DECREASE);
  slowdown.halvedAtMs = nowMs;
  return true;
}

/** The share now: from `MIN_RATE_SHARE` to 1, a tenth more for each full second since the last asking. */
export function rateShare({ share, askedAtMs }: Slowdown, nowMs: number): number {
  if (share === 1) return 1;
  const steps = Math.floor(Math.max(0, nowMs - askedAtMs) / RECOVERY_STEP_MS);
  return Math.min(1, share + (steps * TENTHS_PER_SECOND) / 10);
}

/** When the share grows next, if nobody asks until then; Infinity once it is whole. */
export function nextChangeMs(slowdown: Slowdown, nowMs: number): number {
  if (rateShare(slowdown, nowMs) === 1) return Number.POSITIVE_INFINITY;
  const steps = Math.floor(Math.max(0, nowMs - slowdown.askedAtMs) / RECOVERY_STEP_MS);
  return slowdown.askedAtMs + (steps + 1) * RECOVERY_STEP_MS;
}
