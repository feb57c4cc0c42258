import { setTimeout as delay } from 'node:timers/promises';
import { sqlState } from './errors.ts';

/** Told before each repetition: the SQLSTATE that stood in the way, and of what. */
export type OnContended = (what: string, code: string) => void;

/** 40P01 deadlock_detected, 55P03 lock_not_available. */
const CONTENDED = new Set(['40P01', '55P03']);
const FIRST_PAUSE_MS = 100;
const MAX_PAUSE_MS = 2_000;
/** With half a second of waiting for a lock in each they take about a minute and a half. */
const ATTEMPTS = 40;

/** True for what took no effect because somebody else held a lock. */
export function isContended(error: unknown): boolean {
  return CONTENDED.has(sqlState(error) ?? '');
}

/**
 * Does again what could not have its locks, for the statements of a system at work soon give them back.
 * Pauses grow to 2 s. Throws what the last of 40 attempts threw, and anything else at once. `random`: 0 to 1.
 */
export async function insistOnLocks<Result>(
  what: string,
  work: () => Promise<Result>,
  onContended: OnContended,
  random: () => number = Math.random,
): Promise<Result> {
  for (let attempt = 1; ; attempt += 1) {
    try {
      return await work();
    } catch (error) {
      if (!isContended(error) || attempt === ATTEMPTS) throw error;
      onContended(what, sqlState(error)!);
      const pauseMs = Math.min(MAX_PAUSE_MS, FIRST_PAUSE_MS * 2 ** (attempt - 1));
      await delay(pauseMs * (0.5 + random() / 2));
    }
  }
}
