import { HEADER } from '../protocol/headers.ts';
import type { TokenClaims } from '../protocol/token.ts';
import { tokenSubject } from '../protocol/token.ts';
import { hasHash, readBody } from './body.ts';
import { VerificationError } from './errors.ts';
import type { Settings, WorkerOptions } from './settings.ts';
import { resolveSettings } from './settings.ts';
import { checkToken } from './token.ts';

/**
 * One attempt, shown to come from the service. Its token signs the task, the queue, the method, the
 * URL and the body; the other fields come from plain headers and are as safe as the connection.
 */
export interface TaskRequest {
  /** Never changes: the key to make a task's effect idempotent with. */
  taskId: string;
  taskName: string | null;
  queue: string;
  /** From 1, within the step. */
  attempt: number;
  maxAttempts: number | 'unlimited';
  /** From 0; raised by each continuation. */
  step: number;
  /** When the attempt was due. */
  scheduleTime: Date;
  /** HTTP status of the previous attempt's answer; null on the first, and when there was no answer. */
  previousStatus: number | null;
  /** The payload's exact bytes. */
  body: Uint8Array;
  /** The payload as UTF-8 text; bytes that are none become U+FFFD. */
  text(): string;
  claims: TokenClaims;
}

/**
 * Checks that a request is an attempt that Errand dispatched to this worker, for this method and URL,
 * with exactly this body, and reads that body (up to `maxBodyBytes`).
 *
 * The token comes from `Errand-Authorization`, else from `Authorization`. Keys come from the
 * configured issuer only (RFC 8725, section 3.10: `jku`, `x5u` and `jwk` headers are never followed),
 * with 60 s of tolerance for clocks. A token can be replayed within its 360 s: make effects
 * idempotent by `taskId`, which at-least-once dispatch asks for anyway.
 *
 * @throws VerificationError with a stable `code` and the `status` to answer.
 * @throws ConfigurationError when an option is missing or wrong.
 *
 * @example
 * const { taskId, body } = await verify(request, { issuer: 'https://errand.example', publicUrl: 'https://app.example' });
 */
export async function verify(request: Request, options: WorkerOptions = {}): Promise<TaskRequest> {
  return verifyRequest(request, resolveSettings(options));
}

/** The token is checked before the body is read, so that a stranger can't make a worker hold 1 MiB. */
export async function verifyRequest(request: Request, settings: Settings): Promise<TaskRequest> {
  const claims = await checkToken(request.headers, settings);
  checkTarget(request, claims, settings.publicUrl);
  checkTask(request.headers, claims);
  const body = await readBody(request, settings.maxBodyBytes);
  if (!(await hasHash(body, claims.body_sha256))) {
    throw new VerificationError('body-mismatch', 'The body is not the one that the token signs');
  }
  return readTask(request.headers, body, claims);
}

function checkTarget(request: Request, claims: TokenClaims, publicUrl: string): void {
  if (claims.htm !== request.method) {
    throw new VerificationError(
      'method-mismatch',
      `The token is for ${claims.htm}, but the request's method is ${request.method}`,
    );
  }
  const { pathname, search } = new URL(request.url);
  const expected = comparableUrl(`${publicUrl}${pathname}${search}`);
  if (comparableUrl(claims.url) !== expected) {
    throw new VerificationError(
      'url-mismatch',
      `The token is for ${claims.url}, but this is ${expected}; is publicUrl (ERRAND_WORKER_URL) the URL that tasks are enqueued with?`,
    );
  }
}

/** A lone `?` and credentials are part of a URL, but no request line carries them. */
function comparableUrl(url: string): string | null {
  if (!URL.canParse(url)) return null;
  const { origin, pathname, search } = new URL(url);
  return `${origin}${pathname}${search}`;
}

function checkTask(headers: Headers, claims: TokenClaims): void {
  const subject = tokenSubject(headers.get(HEADER.queue) ?? '', headers.get(HEADER.taskId) ?? '');
  if (claims.sub !== subject) {
    throw new VerificationError(
      'task-mismatch',
      `The token is for ${claims.sub}, but the Errand-Queue and Errand-Task-Id headers name ${subject}`,
    );
  }
}

function readTask(headers: Headers, body: Uint8Array, claims: TokenClaims): TaskRequest {
  const maxAttempts = headers.get(HEADER.maxAttempts);
  const scheduleTime = new Date(headers.get(HEADER.scheduleTime) ?? '');
  if (Number.isNaN(scheduleTime.getTime())) throw badHeader(headers, HEADER.scheduleTime);
  return {
    taskId: headers.get(HEADER.taskId) ?? '',
    taskName: headers.get(HEADER.taskName),
    queue: headers.get(HEADER.queue) ?? '',
    attempt: integerHeader(headers, HEADER.attempt),
    maxAttempts:
      maxAttempts === 'unlimited' ? maxAttempts : integerHeader(headers, HEADER.maxAttempts),
    step: integerHeader(headers, HEADER.step),
    scheduleTime,
    previousStatus: headers.has(HEADER.previousStatus)
      ? integerHeader(headers, HEADER.previousStatus)
      : null,
    body,
    text: () => new TextDecoder().decode(body),
    claims,
  };
}

function integerHeader(headers: Headers, name: string): number {
  const value = headers.get(name) ?? '';
  if (!/^\d{1,10}$/.test(value)) throw badHeader(headers, name);
  return Number(value);
}

function badHeader(headers: Headers, name: string): VerificationError {
  const value = JSON.stringify(headers.get(name));
  return new VerificationError(
    'header-invalid',
    `The header ${name} is not readable, got ${value}`,
  );
}
