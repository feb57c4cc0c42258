import { HTTPException } from 'hono/http-exception';
import { ErrandError } from '../errors.ts';
import { type InputError, PROBLEM, type Problem, type ProblemCode } from '../protocol/problem.ts';
import { StoreError } from '../store/errors.ts';

/** Fields of a problem beside the usual ones. */
export type ProblemExtras = Pick<Problem, 'errors' | 'taskId' | 'retryAfterSeconds'>;

/**
 * Thrown by a handler to end the request with a problem of the wire contract. `detail` says what was
 * expected, what came and what to do; it is shown to the caller.
 *
 * @example
 * throw new ProblemError('name-taken', `Queue "${queue}" has a task named "${name}"`, { taskId });
 */
export class ProblemError extends ErrandError {
  declare readonly code: ProblemCode;
  readonly extras: ProblemExtras;
  readonly headers: Record<string, string>;

  constructor(
    code: ProblemCode,
    detail: string,
    extras: ProblemExtras = {},
    headers: Record<string, string> = {},
  ) {
    super(code, detail);
    this.extras = extras;
    this.headers = headers;
  }
}

/** 400 `invalid-request` that names everything wrong with the input. */
export function invalidRequest(errors: InputError[]): ProblemError {
  const first = errors[0];
  const more = errors.length > 1 ? ` (and ${errors.length - 1} more)` : '';
  const detail = first
    ? `${first.pointer || 'The body'}: expected ${first.expected}, got ${first.received}${more}`
    : 'The request is not valid';
  return new ProblemError('invalid-request', detail, { errors });
}

/** The one place where what was thrown becomes an HTTP status; null when it is a bug of ours. */
export function asProblem(error: unknown, method: string): ProblemError | null {
  if (error instanceof ProblemError) return error;
  if (error instanceof StoreError) return storeProblem(error, method);
  if (error instanceof HTTPException) return frameworkProblem(error);
  if (isBodyCut(error)) return new ProblemError('invalid-json', 'The body did not come to its end');
  return null;
}

export function problemResponse(problem: ProblemError): Response {
  const body = problemBody(problem);
  return new Response(JSON.stringify(body), {
    status: body.status,
    headers: {
      'content-type': 'application/problem+json',
      'cache-control': 'no-store',
      ...(body.status === 503 && { 'retry-after': '1' }),
      ...problem.headers,
    },
  });
}

export function problemBody(problem: ProblemError): Problem {
  const { status, title } = PROBLEM[problem.code];
  return {
    type: `urn:errand:problem:${problem.code}`,
    title,
    status,
    code: problem.code,
    detail: problem.message,
    ...problem.extras,
  };
}

/** The client went away while it sent, or took too long over it: Node's error of an IncomingMessage. */
function isBodyCut(error: unknown): boolean {
  return error instanceof Error && error.message === 'aborted' && 'code' in error;
}

/** A read whose answer was lost changed nothing: it is merely the database that is away. */
function storeProblem(error: StoreError, method: string): ProblemError | null {
  const isRead = method === 'GET' || method === 'HEAD';
  switch (error.code) {
    case 'database-unavailable':
      return new ProblemError('database-unavailable', `${error.message}; repeat the request`);
    case 'outcome-unknown':
      return isRead
        ? new ProblemError('database-unavailable', `${error.message}; repeat the request`)
        : new ProblemError('outcome-unknown', `${error.message}: it may have taken effect`);
    default:
      return null;
  }
}

/** What the router's own validators throw before a handler is reached. */
function frameworkProblem(error: HTTPException): ProblemError | null {
  if (error.status === 400) {
    return new ProblemError('invalid-json', 'The body must be one JSON value (RFC 8259)');
  }
  if (error.status === 415) {
    return new ProblemError(
      'unsupported-media-type',
      'The body must be sent with Content-Type: application/json',
    );
  }
  return null;
}
