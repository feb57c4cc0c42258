export interface Limit {
  ratePerSecond: number;
  burst: number;
}

export interface Period {
  fromMs: number;
  toMs: number;
}

/** The largest number of stamps in any window of this length, both ends included; stamps are sorted. */
export function mostInWindow(stamps: readonly number[], windowMs: number): number {
  let first = 0;
  let most = 0;
  for (let last = 0; last < stamps.length; last += 1) {
    while (stamps[last]! - stamps[first]! > windowMs) first += 1;
    most = Math.max(most, last - first + 1);
  }
  return most;
}

/** Promise 4 of the service: what a window may hold, with a tenth of a second of grace on the way. */
export function mostAllowed({ ratePerSecond, burst }: Limit, windowSeconds: number): number {
  return burst + ratePerSecond * (windowSeconds + 0.1) + 1;
}

/**
 * The share of the allowed rate that was used in these periods; null where fewer than three calls make
 * it meaningless. It goes by the distance of the arrivals within a period, from its first to its last,
 * and so is right for one call in five seconds too.
 */
export function rateUsed(
  stamps: readonly number[],
  periods: readonly Period[],
  ratePerSecond: number,
): number | null {
  let calls = 0;
  let seconds = 0;
  for (const period of periods) {
    const within = stampsIn(stamps, period);
    if (within.length < 2) continue;
    calls += within.length - 1;
    seconds += (within.at(-1)! - within[0]!) / 1000;
  }
  return calls < 2 ? null : calls / seconds / ratePerSecond;
}

/**
 * Seconds from this moment until a half second begins whose calls are nearer to the new rate than to the
 * old one; Infinity when none does before `untilMs`.
 */
export function secondsUntilRate(
  stamps: readonly number[],
  { fromMs, toMs }: Period,
  { from, to }: { from: number; to: number },
): number {
  const lookMs = 500;
  for (let atMs = fromMs; atMs + lookMs <= toMs; atMs += 10) {
    const within = stampsIn(stamps, { fromMs: atMs, toMs: atMs + lookMs });
    const perSecond = within.length / (lookMs / 1000);
    if (Math.abs(perSecond - to) < Math.abs(perSecond - from)) return (atMs - fromMs) / 1000;
  }
  return Number.POSITIVE_INFINITY;
}

/** The longest time without an arrival that lies in the period or reaches into it, in seconds. */
export function longestGap(stamps: readonly number[], { fromMs, toMs }: Period): number {
  let longestMs = 0;
  for (let index = 1; index < stamps.length; index += 1) {
    const [before, after] = [stamps[index - 1]!, stamps[index]!];
    if (after >= fromMs && before <= toMs) longestMs = Math.max(longestMs, after - before);
  }
  const last = stamps.at(-1) ?? fromMs;
  return Math.max(longestMs, last < toMs ? toMs - last : 0) / 1000;
}

export function stampsIn(stamps: readonly number[], { fromMs, toMs }: Period): number[] {
  return stamps.filter((atMs) => atMs >= fromMs && atMs <= toMs);
}
