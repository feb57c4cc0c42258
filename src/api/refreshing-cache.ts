import { oldestKey } from './ttl-cache.ts';

/**
 * Remembers what was found for a short while, and reads it again behind the back of whoever asks before
 * that while is over: what is asked for often is answered at once, without a promise to wait for.
 */
export interface RefreshingCache<Value> {
  /** At once when it is known and fresh, else loaded. What is not there (null) is never remembered. */
  get(key: string): Value | Promise<Value | null>;
  /** Called after a change of this process, so that it is seen at once. */
  forget(key: string): void;
}

export interface RefreshingCacheOptions {
  /** A value is used for at most this long after it was asked for. */
  ttlMs: number;
  /** From this age on it is read again while it is used. */
  refreshAfterMs: number;
  maxEntries: number;
}

/** `nowMs` is a monotonic clock. Callers that ask for one key at the same time share one load. */
export function createRefreshingCache<Value>(
  { ttlMs, refreshAfterMs, maxEntries }: RefreshingCacheOptions,
  load: (key: string) => Promise<Value | null>,
  nowMs: () => number = () => performance.now(),
): RefreshingCache<Value> {
  const known = new Map<string, { value: Value; askedAtMs: number }>();
  const loading = new Map<string, Promise<Value | null>>();

  function read(key: string): Promise<Value | null> {
    const underWay = loading.get(key);
    if (underWay !== undefined) return underWay;
    const reading = remember(key, nowMs(), () => loading.get(key) === reading);
    loading.set(key, reading);
    return reading;
  }

  /** A change that came after the question makes its answer worthless: then nothing is kept. */
  async function remember(key: string, askedAtMs: number, isWanted: () => boolean) {
    try {
      const value = await load(key);
      if (!isWanted()) return value;
      known.delete(key);
      if (value !== null) known.set(key, { value, askedAtMs });
      if (known.size > maxEntries) known.delete(oldestKey(known)!);
      return value;
    } finally {
      if (isWanted()) loading.delete(key);
    }
  }

  return {
    get(key) {
      const entry = known.get(key);
      if (entry === undefined) return read(key);
      const ageMs = nowMs() - entry.askedAtMs;
      if (ageMs >= ttlMs) return read(key);
      // A failed reading ahead is nobody's yet: who comes after the ttl meets the error.
      if (ageMs >= refreshAfterMs) read(key).catch(() => undefined);
      return entry.value;
    },
    forget(key) {
      known.delete(key);
      loading.delete(key);
    },
  };
}
