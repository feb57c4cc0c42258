import { setTimeout as pause } from 'node:timers/promises';

/** What `work` resolves to; rejects with `message` when that takes longer than `patienceMs`. */
export async function bounded<T>(
  work: Promise<T>,
  patienceMs: number,
  message: string,
): Promise<T> {
  const timer = new AbortController();
  const late = pause(patienceMs, null, { signal: timer.signal }).then(() => {
    throw new Error(`${message} within ${patienceMs} ms`);
  });
  late.catch(() => {}); // Called off.
  return Promise.race([work, late]).finally(() => timer.abort());
}
