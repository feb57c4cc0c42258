/** Remembers what was found for a while. What is not there (null) is asked for again every time. */
export interface TtlCache<Value> {
  /** From memory, or loaded; callers that ask for one key at the same time share one load. */
  get(key: string): Promise<Value | null>;
  /** Called after a change of this process, so that it is seen at once. */
  forget(key: string): void;
}

interface Entry<Value> {
  loadedAtMs: number;
  value: Promise<Value | null>;
}

/** `nowMs` is a monotonic clock. A failed load is not remembered either. */
export function createTtlCache<Value>(
  { ttlMs, maxEntries }: { ttlMs: number; maxEntries: number },
  load: (key: string) => Promise<Value | null>,
  nowMs: () => number = () => performance.now(),
): TtlCache<Value> {
  const entries = new Map<string, Entry<Value>>();

  function remember(key: string): Promise<Value | null> {
    const entry = { loadedAtMs: nowMs(), value: load(key) };
    entries.delete(key);
    entries.set(key, entry);
    if (entries.size > maxEntries) entries.delete(oldestKey(entries)!);
    const drop = () => {
      if (entries.get(key) === entry) entries.delete(key);
    };
    entry.value.then((value) => value ?? drop(), drop);
    return entry.value;
  }

  return {
    get(key) {
      const entry = entries.get(key);
      const isFresh = entry !== undefined && nowMs() - entry.loadedAtMs < ttlMs;
      return isFresh ? entry.value : remember(key);
    },
    forget(key) {
      entries.delete(key);
    },
  };
}

/** Of a cache that inserts anew with each load, for a map keeps the order of insertion. */
export function oldestKey(entries: Map<string, unknown>): string | undefined {
  return entries.keys().next().value;
}
