import type { Decision, Output, QueueSettings } from '../model.ts';
import { LIMIT } from '../protocol/limits.ts';
import { readContinuation } from './continuation.ts';
import { bodyText, boundText } from './error-text.ts';

/** What came back from one attempt. */
export type Answer = Responded | Unanswered;

export interface Responded {
  outcome: 'responded';
  status: number;
  /** Value of `Errand-Outcome`; null when the header is absent. */
  outcomeHeader: string | null;
  /** Value of `Errand-Progress`. */
  progressHeader: string | null;
  /** Value of `Retry-After`. */
  retryAfter: string | null;
  contentType: string | null;
  fileName: string | null;
  /** What was read of the body. */
  body: Uint8Array;
  /** True when the body went on past what was read. */
  isTruncated: boolean;
  /** Why reading the body ended early, after the status line came; null when it did not. */
  bodyError: string | null;
}

export interface Unanswered {
  outcome: 'timed_out' | 'unreachable' | 'blocked' | 'lost';
  /** What went wrong, for people; may be empty. */
  error: string;
}

/** What an answer is held against. */
export interface Expectation {
  successStatus: QueueSettings['successStatus'];
  /** The absolute URL that was called. */
  url: string;
}

/** The answer by itself, before the retry policy has its say. */
export type Reading =
  | Exclude<Decision, { kind: 'retry' }>
  | { kind: 'unsuccessful'; error: string };

/** Reads what the worker meant; see `decideSettlement` for the rules. */
export function readAnswer(answer: Answer, { successStatus, url }: Expectation): Reading {
  if (answer.outcome !== 'responded') {
    const error = `expected ${successStatus}, got no answer (${describeUnanswered(answer)})`;
    return { kind: 'unsuccessful', error };
  }
  if (!isSuccess(answer.status, successStatus)) {
    return { kind: 'unsuccessful', error: describeStatus(answer, successStatus) };
  }
  const progress = readProgress(answer.progressHeader);
  const outcome = answer.outcomeHeader?.trim();
  switch (outcome) {
    case undefined:
      return { kind: 'succeed', output: takeOutput(answer), progress };
    case 'failed':
      return { kind: 'fail', reason: failureReason(answer), output: takeOutput(answer) };
    case 'continue': {
      const reading = readContinuation(answer, url);
      if (reading.kind === 'unsuccessful') return reading;
      return { ...reading, progress: reading.progress ?? progress };
    }
    default: {
      const received = JSON.stringify(outcome);
      const error = `expected Errand-Outcome to be absent, failed or continue, got ${received}`;
      return { kind: 'unsuccessful', error };
    }
  }
}

/**
 * What the attempt log says of an answer: its status, null when none came, and what was wrong with it,
 * null when nothing was. The error is at most `ERROR_CHARACTERS` long and holds no NUL bytes.
 *
 * @example
 * ```ts
 * describeAnswer(answer, { successStatus: '200', url: 'https://example.com/work' });
 * // { status: 500, error: 'expected 200, got 500: out of memory' }
 * ```
 */
export function describeAnswer(
  answer: Answer,
  expectation: Expectation,
): { status: number | null; error: string | null } {
  const status = answer.outcome === 'responded' ? answer.status : null;
  const reading = readAnswer(answer, expectation);
  switch (reading.kind) {
    case 'succeed':
    case 'continue':
      return { status, error: null };
    case 'fail':
      return { status, error: reading.reason };
    case 'unsuccessful':
      return { status, error: boundText(reading.error) };
  }
}

function isSuccess(status: number, successStatus: QueueSettings['successStatus']): boolean {
  return successStatus === '2xx' ? status >= 200 && status <= 299 : status === 200;
}

function describeUnanswered({ outcome, error }: Unanswered): string {
  const what = outcome.replace('_', ' ');
  return error === '' ? what : `${what}: ${error}`;
}

function describeStatus({ status, body }: Responded, successStatus: string): string {
  const text = bodyText(body);
  const hint = status >= 300 && status <= 399 ? ' (redirects are not followed)' : '';
  return `expected ${successStatus}, got ${status}${hint}${text === '' ? '' : `: ${text}`}`;
}

/** `Errand-Progress` as a whole number from 0 to 100. Junk is ignored: it must not cost an attempt. */
function readProgress(header: string | null): number | null {
  const value = header?.trim() ?? '';
  if (!/^\d{1,3}(\.\d+)?$/.test(value)) return null;
  return Number(value) <= 100 ? Math.floor(Number(value)) : null;
}

/** The body as output; null when it is empty. */
function takeOutput(answer: Responded): Output | null {
  const { body, contentType, fileName } = answer;
  const isCut = body.length > LIMIT.outputBytes;
  const isTruncated = isCut || answer.isTruncated || answer.bodyError !== null;
  if (body.length === 0 && !isTruncated) return null;
  return {
    // A copy, so that the rest of a large body is not held in memory until the batch is written.
    body: isCut ? Uint8Array.from(body.subarray(0, LIMIT.outputBytes)) : body,
    contentType: contentType === null ? null : boundText(contentType),
    fileName: fileName === null ? null : boundText(fileName),
    isTruncated,
  };
}

function failureReason({ body }: Responded): string {
  return bodyText(body) || 'the worker answered Errand-Outcome: failed, without a reason';
}
