/**
 * A token bucket: it holds at most `burst` tokens, refills at `ratePerSecond`, and each dispatch takes
 * one. The record is mutable and belongs to one owner; reading it never changes it, so rounding can't
 * pile up with the number of looks. Make it with `createBucket` and change it through the functions here.
 *
 * Times are milliseconds of a monotonic clock. A time before the latest change counts as that change's
 * time, so a clock that steps back adds no tokens, then or when it catches up.
 */
export interface TokenBucket {
  /** Tokens a second; fractions are allowed (0.2 = one in 5 s), 0 never refills. */
  ratePerSecond: number;
  /** The most that it holds: 1 or more. */
  burst: number;
  /** The level at `changedAtMs`; tokens may be fractions. */
  tokens: number;
  changedAtMs: number;
}

export interface Rate {
  ratePerSecond: number;
  burst: number;
}

/**
 * A bucket that holds `tokens` now: full by default, 0 after a crash, the level handed over after a
 * graceful leave. Throws a RangeError unless the rate is finite and ≥ 0 and the burst finite and ≥ 1.
 *
 * @example
 * ```ts
 * const bucket = createBucket({ ratePerSecond: 0.2, burst: 1 }, 0);
 * takeTokens(bucket, 3, 0); // 1
 * secondsUntilToken(bucket, 0); // 5
 * ```
 */
export function createBucket(rate: Rate, nowMs: number, tokens = rate.burst): TokenBucket {
  checkRate(rate);
  return { ...pickRate(rate), tokens: clamp(tokens, rate.burst), changedAtMs: nowMs };
}

/** The level: 0 … burst, fractions included. */
export function availableTokens(bucket: TokenBucket, nowMs: number): number {
  const elapsedSeconds = Math.max(0, nowMs - bucket.changedAtMs) / 1000;
  return clamp(snap(bucket.tokens + elapsedSeconds * bucket.ratePerSecond), bucket.burst);
}

/** Takes up to `count` tokens, as many whole ones as there are, and returns how many it took. */
export function takeTokens(bucket: TokenBucket, count: number, nowMs: number): number {
  const level = availableTokens(bucket, nowMs);
  const taken = Math.max(0, Math.floor(Math.min(count, level)));
  setLevel(bucket, level - taken, nowMs);
  return taken;
}

/** Gives back tokens that were taken and not used; what would overflow the burst is lost. */
export function returnTokens(bucket: TokenBucket, count: number, nowMs: number): void {
  setLevel(bucket, availableTokens(bucket, nowMs) + Math.max(0, count), nowMs);
}

/** Seconds until a whole token is there: 0 when one is, Infinity when the rate is 0. */
export function secondsUntilToken(bucket: TokenBucket, nowMs: number): number {
  const level = availableTokens(bucket, nowMs);
  if (level >= 1) return 0;
  const secondsBehind = Math.max(0, bucket.changedAtMs - nowMs) / 1000;
  return secondsBehind + (1 - level) / bucket.ratePerSecond;
}

/** Sets another rate or burst and keeps the level, less what the new burst can't hold. */
export function changeRate(bucket: TokenBucket, rate: Rate, nowMs: number): void {
  checkRate(rate);
  const level = availableTokens(bucket, nowMs);
  Object.assign(bucket, pickRate(rate));
  setLevel(bucket, level, nowMs);
}

function checkRate({ ratePerSecond, burst }: Rate): void {
  if (!(ratePerSecond >= 0 && Number.isFinite(ratePerSecond))) {
    throw new RangeError(`ratePerSecond must be a number from 0, got ${ratePerSecond}`);
  }
  // A burst below 1 could never hold the one token that a dispatch takes.
  if (!(burst >= 1 && Number.isFinite(burst))) {
    throw new RangeError(`burst must be a number from 1, got ${burst}`);
  }
}

/** Only the two fields, whatever else the caller's object has. */
function pickRate({ ratePerSecond, burst }: Rate): Rate {
  return { ratePerSecond, burst };
}

function setLevel(bucket: TokenBucket, level: number, nowMs: number): void {
  bucket.tokens = clamp(level, bucket.burst);
  bucket.changedAtMs = Math.max(bucket.changedAtMs, nowMs);
}

/** Forgives float rounding: 0.2/s for 5 s must be one whole token, not 0.9999999999999999 of it. */
function snap(level: number): number {
  const whole = Math.round(level);
  return Math.abs(level - whole) < 1e-9 ? whole : level;
}

function clamp(level: number, burst: number): number {
  return Math.min(Math.max(level, 0), burst);
}
