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
 * The share of the allowed rate that was used in these periods. It goes by the distance of the arrivals
 * within a period, from its first to its last, and so is right for one call in five seconds too.
 */
export function utilisation(
  stamps: readonly number[],
  periods: readonly Period[],
  { ratePerSecond }: Limit,
): number | null {
  let calls = 0;
  let seconds = 0;
  for (const { fromMs, toMs } of periods) {
    const within = stamps.filter((atMs) => atMs >= fromMs && atMs <= toMs);
    if (within.length < 2) continue;
    calls += within.length - 1;
    seconds += (within.at(-1)! - within[0]!) / 1000;
  }
  return seconds === 0 ? null : calls / seconds / ratePerSecond;
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
