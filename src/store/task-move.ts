import { StoreError } from './errors.ts';

const MOST_TRIES = 10;

/** A verb saw the task in one room and found it gone from there when it came to change it. */
export const MOVED = 'moved';

/**
 * Repeats a verb's one statement while the task moves under it. A statement sees the rooms as they were
 * when it began; if a claim, a settlement or a promotion takes the row first, the statement waits for
 * that to commit, finds the row gone and changes nothing. The next try sees the room it went to.
 *
 * Ten tries are enough: each one lost takes a whole move of this very task in the millisecond between
 * a statement's start and its lock, and a task that moves makes an HTTP call between two such moments.
 */
export async function whileItMoves<Result>(
  statement: () => Promise<Result | typeof MOVED>,
): Promise<Result> {
  for (let tries = 0; tries < MOST_TRIES; tries += 1) {
    const result = await statement();
    if (result !== MOVED) return result;
  }
  throw new StoreError(
    'database-unavailable',
    `The task changed hands ${MOST_TRIES} times while it was to be changed; nothing was done`,
  );
}
