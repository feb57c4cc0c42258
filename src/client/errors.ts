import type { InputError, Problem, ProblemCode } from '../protocol/problem.ts';

/**
 * The base of every error that the client throws on purpose: a stable `code`, and a sentence that says
 * what was expected, what came and what to do.
 */
export class ErrandClientError extends Error {
  readonly code: string;

  constructor(code: string, message: string, options?: { cause?: unknown }) {
    super(message, options);
    this.name = new.target.name;
    this.code = code;
  }
}

/**
 * The service refused the request, or failed at it. `code` is the one of its problem document
 * (RFC 9457); it is `http-error` where the answer was none, as from a proxy in between.
 *
 * @example
 * try {
 *   await client.enqueue('mail', { url, name: 'welcome-7' });
 * } catch (error) {
 *   if (!(error instanceof ErrandApiError) || error.code !== 'name-taken') throw error;
 *   console.log(`It is already there: ${error.taskId}`);
 * }
 */
export class ErrandApiError extends ErrandClientError {
  declare readonly code: ProblemCode | 'http-error';
  readonly status: number;
  /** What went wrong, for people; its wording may change. */
  readonly detail: string;
  /** With `invalid-request`: what is wrong, and where. Else empty. */
  readonly errors: InputError[];
  /** With `name-taken`: the task that holds the name. Else null. */
  readonly taskId: string | null;
  /** When the answer's `Retry-After` said to come back, in seconds from then. Else null. */
  readonly retryAfterSeconds: number | null;

  constructor(problem: ApiProblem) {
    const { status, code, detail, errors = [], taskId = null, retryAfterSeconds = null } = problem;
    const places = errors.map((e) => `${e.pointer}: expected ${e.expected}, got ${e.received}`);
    super(code, [`${status} ${code}: ${detail}`, ...places].join('; '));
    this.status = status;
    this.detail = detail;
    this.errors = errors;
    this.taskId = taskId;
    this.retryAfterSeconds = retryAfterSeconds;
  }
}

/** A problem document as far as it is used. */
interface ApiProblem extends Pick<Problem, 'status' | 'detail' | 'errors' | 'taskId'> {
  code: string;
  retryAfterSeconds?: number | null;
}

/**
 * Time ran out: a request that had no answer within `timeoutMs` (its effect is unknown then), or a
 * `waitFor` whose task did not end in time.
 */
export class ErrandTimeoutError extends ErrandClientError {
  constructor(message: string, options?: { cause?: unknown }) {
    super('timed-out', message, options);
  }
}

/** The service could not be reached, or hung up in the middle of its answer. */
export class ErrandConnectionError extends ErrandClientError {
  constructor(message: string, options?: { cause?: unknown }) {
    super('unreachable', message, options);
  }
}

/** Long enough to recognise a proxy's error page by. */
const MAX_DETAIL_CHARACTERS = 500;

/** The error that an answer which is no success stands for. Never throws, whatever the body is. */
export function toApiError(status: number, headers: Headers, body: string): ErrandApiError {
  const retryAfterSeconds = readRetryAfter(headers);
  const problem = parseProblem(body);
  if (problem !== null) return new ErrandApiError({ ...problem, status, retryAfterSeconds });
  const detail = body.slice(0, MAX_DETAIL_CHARACTERS).toWellFormed().trim() || 'without a text';
  return new ErrandApiError({ status, code: 'http-error', detail, retryAfterSeconds });
}

function parseProblem(body: string): Problem | null {
  let value: Partial<Problem> | null;
  try {
    value = JSON.parse(body);
  } catch {
    // Not every error comes from the service: a proxy's page is no JSON.
    return null;
  }
  if (typeof value?.code !== 'string' || typeof value.detail !== 'string') return null;
  const { errors, ...rest } = value as Problem;
  return Array.isArray(errors) ? { ...rest, errors } : rest;
}

/** Only the form in seconds (RFC 9110, section 10.2.3): a date would need our clocks to agree. */
function readRetryAfter(headers: Headers): number | null {
  const value = headers.get('retry-after') ?? '';
  return /^\d{1,9}$/.test(value) ? Number(value) : null;
}
