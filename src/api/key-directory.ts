import { findApiKey, type KnownApiKey, noteKeyUse } from '../store/api-key.ts';
import type { Database } from '../store/database.ts';
import { createRefreshingCache } from './refreshing-cache.ts';

/** A key that another process revoked is refused this much later, and one read of the database. */
const FRESH = { ttlMs: 1_000, refreshAfterMs: 500, maxEntries: 10_000 };
const NOTE_USE_EVERY_SECONDS = 60;

/** The API keys that this process was shown lately. */
export interface KeyDirectory {
  /** Null when there is no such key, or it was revoked or has expired. */
  find(id: string): KnownKey | null | Promise<KnownKey | null>;
  /** Tells that it let a request in; written at most once a minute, and nobody waits for it. */
  noteUse(key: KnownKey): void;
  /** After its revocation by this process: it is refused from now on. */
  forget(id: string): void;
}

export interface KnownKey extends KnownApiKey {
  /** By the monotonic clock. */
  expiresAtMs: number;
  noteUseAtMs: number;
}

/** `nowMs` is a monotonic clock. */
export function createKeyDirectory(
  database: Database,
  nowMs: () => number = () => performance.now(),
): KeyDirectory {
  const keys = createRefreshingCache(FRESH, load, nowMs);
  const used = new Set<string>();
  let isWriting = false;

  async function load(id: string): Promise<KnownKey | null> {
    const askedAtMs = nowMs();
    const key = await database.run((sql) => findApiKey(sql, id));
    if (key === null) return null;
    const { expiresInSeconds, usedBeforeSeconds } = key;
    const quietSeconds = NOTE_USE_EVERY_SECONDS - (usedBeforeSeconds ?? Number.POSITIVE_INFINITY);
    return {
      ...key,
      expiresAtMs: askedAtMs + (expiresInSeconds ?? Number.POSITIVE_INFINITY) * 1000,
      noteUseAtMs: askedAtMs + Math.max(0, quietSeconds) * 1000,
    };
  }

  async function write(): Promise<void> {
    isWriting = true;
    while (used.size > 0) {
      const ids = [...used];
      used.clear();
      // A use that is not noted is noted with the next: the time is for people, to the minute.
      await database.run((sql) => noteKeyUse(sql, ids)).catch(() => undefined);
    }
    isWriting = false;
  }

  function unexpired(key: KnownKey | null): KnownKey | null {
    return key !== null && nowMs() < key.expiresAtMs ? key : null;
  }

  return {
    find(id) {
      const found = keys.get(id);
      return found instanceof Promise ? found.then(unexpired) : unexpired(found);
    },
    noteUse(key) {
      if (nowMs() < key.noteUseAtMs) return;
      key.noteUseAtMs = nowMs() + NOTE_USE_EVERY_SECONDS * 1000;
      used.add(key.id);
      if (!isWriting) void write();
    },
    forget: (id) => keys.forget(id),
  };
}
