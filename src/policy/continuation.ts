import type { Decision } from '../model.ts';
import { LIMIT } from '../protocol/limits.ts';
import type { Continuation } from '../protocol/resources.ts';

/** The longest delay a continuation may ask for: 30 days. */
export const MAX_CONTINUATION_DELAY_SECONDS = 30 * 86_400;

const FIELDS: ReadonlySet<string> = new Set<keyof Continuation>([
  'payload',
  'delaySeconds',
  'progress',
  'url',
]);

type ContinuationReading =
  | Extract<Decision, { kind: 'continue' }>
  | { kind: 'unsuccessful'; error: string };

/** What was read of the answer's body, and how the reading ended. */
interface ContinuationBody {
  body: Uint8Array;
  isTruncated: boolean;
  bodyError: string | null;
}

/**
 * Reads the body of an `Errand-Outcome: continue` answer: JSON of exactly `{payload, delaySeconds?,
 * progress?, url?}`. Whatever is not whole and valid is `unsuccessful`, with an error that says which
 * field is wrong: half a continuation must never end its step. A relative `url` is resolved against
 * `currentUrl`; the task's own Authorization does not follow it to another origin. A fraction of
 * `progress` is dropped.
 */
export function readContinuation(
  answer: ContinuationBody,
  currentUrl: string,
): ContinuationReading {
  const json = parseWholeBody(answer);
  if ('error' in json) return unsuccessful(json.error);

  const fieldError = findFieldError(json.value);
  if (fieldError !== null) return unsuccessful(fieldError);
  const { payload, delaySeconds = 0, progress, url } = json.value as Continuation;

  const bytes = new TextEncoder().encode(payload);
  if (bytes.length > LIMIT.payloadBytes) {
    return unsuccessful(`payload must be at most ${LIMIT.payloadBytes} bytes, got ${bytes.length}`);
  }
  const next = url === undefined ? null : URL.parse(url, currentUrl);
  if (url !== undefined && !isTarget(next)) {
    return unsuccessful(
      `url must be an http(s) URL of at most ${LIMIT.urlCharacters} characters, got ${show(url)}`,
    );
  }
  return {
    kind: 'continue',
    payload: bytes,
    delaySeconds,
    progress: progress === undefined ? null : Math.floor(progress),
    url: next?.href ?? null,
    dropAuthorization: next !== null && next.origin !== new URL(currentUrl).origin,
  };
}

function parseWholeBody(answer: ContinuationBody): { value: unknown } | { error: string } {
  if (answer.bodyError !== null) return { error: `the body broke off: ${answer.bodyError}` };
  if (answer.isTruncated || answer.body.length > LIMIT.continuationBytes) {
    return { error: `the body must be at most ${LIMIT.continuationBytes} bytes, got more` };
  }
  try {
    return { value: JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(answer.body)) };
  } catch (error) {
    return { error: `the body must be UTF-8 JSON: ${(error as Error).message}` };
  }
}

/** What is wrong with the fields of a parsed continuation; null when they are all of the right type. */
function findFieldError(value: unknown): string | null {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) {
    return `the body must be a JSON object, got ${show(value)}`;
  }
  const unknownField = Object.keys(value).find((field) => !FIELDS.has(field));
  if (unknownField !== undefined) return `the body has an unknown field ${show(unknownField)}`;

  const { payload, delaySeconds, progress, url } = value as Record<string, unknown>;
  // Half a surrogate pair has no UTF-8 form: the next step would get other text than was sent.
  if (typeof payload !== 'string' || !payload.isWellFormed()) {
    return `payload must be a string of Unicode text, got ${show(payload)}`;
  }
  if (delaySeconds !== undefined && !isBetween(delaySeconds, 0, MAX_CONTINUATION_DELAY_SECONDS)) {
    return `delaySeconds must be a number from 0 to ${MAX_CONTINUATION_DELAY_SECONDS}, got ${show(delaySeconds)}`;
  }
  if (progress !== undefined && !isBetween(progress, 0, 100)) {
    return `progress must be a number from 0 to 100, got ${show(progress)}`;
  }
  if (url !== undefined && typeof url !== 'string') return `url must be a string, got ${show(url)}`;
  return null;
}

function isBetween(value: unknown, min: number, max: number): boolean {
  return typeof value === 'number' && value >= min && value <= max;
}

function isTarget(url: URL | null): boolean {
  if (url === null || url.href.length > LIMIT.urlCharacters) return false;
  return url.protocol === 'http:' || url.protocol === 'https:';
}

function unsuccessful(error: string): ContinuationReading {
  return { kind: 'unsuccessful', error: `expected a continuation, but ${error}` };
}

/** A value in an error message, short enough to read. */
function show(value: unknown): string {
  const text = value === undefined ? 'nothing' : JSON.stringify(value);
  return text.length <= 100 ? text : `${text.slice(0, 99)}…`;
}
