import { openBytes, sealBytes } from '../store/sealed-bytes.ts';
import type { Caller } from './auth.ts';
import { received } from './input-errors.ts';
import { invalidRequest, type ProblemError } from './problem.ts';

/** A list that has pages. What leads through one leads nowhere in another. */
export type PagedList = 'queues' | 'calendars' | 'tasks' | `tasks/${string}/attempts`;

type Holder = Pick<Caller, 'cursorKey'>;

/**
 * The place where the next page of a list begins, as only its project can use it and nobody can read it:
 * a walk through tasks may have been cut short at a task of another project. Sealed with a key of the project,
 * for the list.
 */
export function sealCursor({ cursorKey }: Holder, list: PagedList, place: string): string {
  return sealBytes(cursorKey, list, place).toString('base64url');
}

/** The place that was sealed. Throws `invalid-request` for what is no cursor of this project's list. */
export function openCursor({ cursorKey }: Holder, list: PagedList, cursor: string): string {
  try {
    return openBytes(cursorKey, list, Buffer.from(cursor, 'base64url')).toString();
  } catch {
    throw noCursor(cursor); // Why it does not open is nothing to tell.
  }
}

function noCursor(cursor: string): ProblemError {
  return invalidRequest([
    { pointer: '?cursor', expected: 'the nextCursor of a page', received: received(cursor) },
  ]);
}
