import { LIMIT } from '../protocol/limits.ts';
import { FatalTaskError } from './errors.ts';
import { parseJson } from './payload.ts';

/** What one step hands to the next, as the task's payload. */
export interface IterationState {
  /** Where the step starts; null is the beginning. */
  cursor: unknown;
  /** As it was enqueued: a schema that transforms must see the original each time. */
  filter?: unknown;
  /** Entities that the steps before have worked on. */
  done: number;
}

const FIELDS = ['cursor', 'filter', 'done'];
const MAX_CURSOR_DEPTH = 16;

/** Room for the fields that a continuation has beside its payload. */
const ANSWER_OVERHEAD_BYTES = 1024;

/** Reads a step's payload; an empty one starts from the beginning. Throws a `FatalTaskError`. */
export function readIterationState(body: Uint8Array): IterationState {
  const payload = body.byteLength === 0 ? {} : parseJson(body);
  if (!isPlainObject(payload)) {
    throw new FatalTaskError('The payload must be empty or a JSON object: {"filter": …}');
  }
  // A filter given at the top level would otherwise be ignored, and the task walk over everything.
  const unknown = Object.keys(payload).find((key) => !FIELDS.includes(key));
  if (unknown !== undefined) {
    throw new FatalTaskError(
      `The payload may have cursor, filter and done only, got ${JSON.stringify(unknown)}; put what selects entities into filter`,
    );
  }
  const { cursor = null, filter, done = 0 } = payload;
  if (!Number.isSafeInteger(done) || (done as number) < 0) {
    throw new FatalTaskError(`The payload is not valid: /done must be an integer of at least 0`);
  }
  return { cursor, filter, done: done as number };
}

/**
 * The payload of the step that starts at `nextCursor`. Throws a `FatalTaskError` where that step could
 * never begin, or the walk never end.
 */
export function writeIterationState(state: IterationState, nextCursor: unknown): string {
  const cursor = toCursorJson(nextCursor);
  if (cursor === JSON.stringify(state.cursor)) {
    throw new FatalTaskError(
      `fetchBatch returned its own start as nextCursor (${cursor}), which would never end; return null after the last batch`,
    );
  }
  const payload = JSON.stringify({ ...state, cursor: nextCursor });
  checkSize('payload', payload, LIMIT.payloadBytes);
  // Within the answer the payload is quoted once more, which may double it.
  checkSize('answer', JSON.stringify(payload), LIMIT.continuationBytes - ANSWER_OVERHEAD_BYTES);
  return payload;
}

/**
 * The cursor as JSON. Only what comes back the same is taken: a NaN would become null and start the
 * walk again, a Date would come back as a string, a Map as nothing.
 */
function toCursorJson(cursor: unknown): string {
  if (!isJson(cursor, 0)) {
    throw new FatalTaskError(
      `nextCursor must be a JSON value (string, finite number, boolean, array or plain object), got ${describe(cursor)}`,
    );
  }
  return JSON.stringify(cursor);
}

function isJson(value: unknown, depth: number): boolean {
  if (value === null || typeof value === 'string' || typeof value === 'boolean') return true;
  if (typeof value === 'number') return Number.isFinite(value);
  if (depth >= MAX_CURSOR_DEPTH) return false;
  if (Array.isArray(value)) return value.every((item) => isJson(item, depth + 1));
  return isPlainObject(value) && Object.values(value).every((item) => isJson(item, depth + 1));
}

function isPlainObject(value: unknown): value is Record<string, unknown> {
  if (typeof value !== 'object' || value === null) return false;
  const prototype = Object.getPrototypeOf(value);
  return prototype === null || Object.getPrototypeOf(prototype) === null;
}

function describe(value: unknown): string {
  if (typeof value === 'object' && value !== null)
    return `a ${value.constructor?.name ?? 'object'}`;
  return `${String(value)} (${typeof value})`;
}

function checkSize(what: string, text: string, limit: number): void {
  const bytes = new TextEncoder().encode(text).byteLength;
  if (bytes <= limit) return;
  throw new FatalTaskError(
    `The next step's ${what} would be ${bytes} bytes, the limit is ${limit}; keep cursor and filter small`,
  );
}
