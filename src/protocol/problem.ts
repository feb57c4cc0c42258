/**
 * Every error code of the REST API with its HTTP status. The code is stable, the text is not.
 * Source of the shape: RFC 9457 (`application/problem+json`).
 */
export const PROBLEM = {
  'invalid-request': { status: 400, title: 'The request is not valid' },
  'invalid-json': { status: 400, title: 'The body is not valid JSON' },
  unauthenticated: { status: 401, title: 'A valid API key is needed' },
  forbidden: { status: 403, title: 'The API key may not do this' },
  'not-found': { status: 404, title: 'There is no such thing' },
  'method-not-allowed': { status: 405, title: 'This method is not allowed here' },
  'name-taken': { status: 409, title: 'The task name is taken' },
  'task-leased': { status: 409, title: 'The task is being dispatched' },
  'task-finished': { status: 409, title: 'The task has already ended' },
  'task-live': { status: 409, title: 'The task has not ended yet' },
  'lease-lost': { status: 409, title: 'The lease is no longer valid' },
  'calendar-in-use': { status: 409, title: 'Queues still name the calendar' },
  'queue-not-empty': { status: 409, title: 'The queue still has tasks' },
  'body-too-large': { status: 413, title: 'The body is too large' },
  'unsupported-media-type': { status: 415, title: 'The body must be JSON' },
  'idempotency-mismatch': {
    status: 422,
    title: 'The Idempotency-Key was used with another request',
  },
  'too-many-secrets': { status: 409, title: 'The queue has its two webhook secrets' },
  'queue-full': { status: 429, title: 'The queue has its maxBacklog of tasks' },
  'quota-exceeded': { status: 429, title: 'The project has used up its quota' },
  'internal-error': { status: 500, title: 'Something went wrong on our side' },
  'database-unavailable': { status: 503, title: 'The database is not reachable' },
  overloaded: { status: 503, title: 'This process has too much to do' },
  'outcome-unknown': { status: 503, title: 'It is not known whether the request took effect' },
  'shutting-down': { status: 503, title: 'This process is shutting down' },
} as const satisfies Record<string, { status: number; title: string }>;

export type ProblemCode = keyof typeof PROBLEM;

/** One thing wrong with a request: where (RFC 6901 pointer, or `?name` / `header name`), and what. */
export interface InputError {
  pointer: string;
  expected: string;
  received: string;
}

/** The body of every error answer. */
export interface Problem {
  type: string;
  title: string;
  status: number;
  code: ProblemCode;
  detail: string;
  errors?: InputError[];
  /** With `name-taken`: the task that holds the name. */
  taskId?: string;
  /** With `queue-full`, `quota-exceeded` and `overloaded`: seconds until it is worth another try. */
  retryAfterSeconds?: number;
}
