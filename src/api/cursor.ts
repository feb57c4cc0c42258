import { createCipheriv, createDecipheriv, randomBytes } from 'node:crypto';
import type { Caller } from './auth.ts';
import { received } from './input-errors.ts';
import { invalidRequest, type ProblemError } from './problem.ts';

/** A list that has pages. What leads through one leads nowhere in another. */
export type PagedList = 'queues' | 'calendars' | 'tasks' | `tasks/${string}/attempts`;

type Holder = Pick<Caller, 'cursorKey'>;

const ALGORITHM = 'aes-256-gcm';
const IV_BYTES = 12;
const TAG_BYTES = 16;

/**
 * The place where the next page of a list begins, as only its project can use it and nobody can read it:
 * a walk through tasks may have been cut short at a task of another project. AES-256-GCM, by a key of the
 * project, bound to the list.
 */
export function sealCursor({ cursorKey }: Holder, list: PagedList, place: string): string {
  const iv = randomBytes(IV_BYTES);
  const cipher = createCipheriv(ALGORITHM, cursorKey, iv).setAAD(Buffer.from(list));
  const parts = [iv, cipher.update(place), cipher.final(), cipher.getAuthTag()];
  return Buffer.concat(parts).toString('base64url');
}

/** The place that was sealed. Throws `invalid-request` for what is no cursor of this project's list. */
export function openCursor({ cursorKey }: Holder, list: PagedList, cursor: string): string {
  const sealed = Buffer.from(cursor, 'base64url');
  if (sealed.length < IV_BYTES + TAG_BYTES) throw noCursor(cursor);
  const decipher = createDecipheriv(ALGORITHM, cursorKey, sealed.subarray(0, IV_BYTES))
    .setAAD(Buffer.from(list))
    .setAuthTag(sealed.subarray(-TAG_BYTES));
  try {
    const place = [decipher.update(sealed.subarray(IV_BYTES, -TAG_BYTES)), decipher.final()];
    return Buffer.concat(place).toString();
  } catch {
    throw noCursor(cursor); // Why it does not open is nothing to tell.
  }
}

function noCursor(cursor: string): ProblemError {
  return invalidRequest([
    { pointer: '?cursor', expected: 'the nextCursor of a page', received: received(cursor) },
  ]);
}
