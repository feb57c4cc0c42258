import { HEADER } from '../protocol/headers.ts';
import type { Continuation } from '../protocol/resources.ts';
import { FatalTaskError, HandlerError, RetryLaterError, VerificationError } from './errors.ts';

/** Enough to say what went wrong; the service keeps a bounded text with the attempt. */
const MAX_ERROR_CHARACTERS = 2_000;
const TEXT = { 'content-type': 'text/plain; charset=utf-8' };
const JSON_TYPE = { 'content-type': 'application/json' };

/** The answer that completes the task, with what it returned as its output. */
export function completed(value: unknown, progress: number | null): Response {
  if (value instanceof Response) return passedThrough(value, progress);
  if (value === undefined) return new Response(null, { status: 200, headers: told(progress) });
  if (typeof value === 'string') {
    return new Response(value, { status: 200, headers: { ...TEXT, ...told(progress) } });
  }
  const json = JSON.stringify(value);
  if (json === undefined) {
    throw new HandlerError(
      'output-invalid',
      `A task must return nothing, a string, a Response or a JSON value, got a ${typeof value}`,
    );
  }
  return new Response(json, { status: 200, headers: { ...JSON_TYPE, ...told(progress) } });
}

/** The answer that ends this step and enqueues the next one of the same task. */
export function continued(continuation: Continuation): Response {
  return new Response(JSON.stringify(continuation), {
    status: 200,
    headers: { ...JSON_TYPE, [HEADER.outcome]: 'continue' },
  });
}

/** The answer to anything that was thrown. It never carries a stack. */
export function errorAnswer(error: unknown, exposeErrors: boolean): Response {
  if (error instanceof VerificationError) return refused(error);
  const text = errorText(error);
  if (error instanceof FatalTaskError) {
    return new Response(text, { status: 200, headers: { ...TEXT, [HEADER.outcome]: 'failed' } });
  }
  const body = exposeErrors ? text : 'The task threw an error';
  if (error instanceof RetryLaterError) {
    const headers = { ...TEXT, 'retry-after': String(error.seconds) };
    return new Response(body, { status: 503, headers });
  }
  return new Response(body, { status: 500, headers: TEXT });
}

/** RFC 9457; a 401 must name a scheme (RFC 9110, section 11.6.1). */
function refused(error: VerificationError): Response {
  const title = 'The request was not taken as a task';
  const { status, code, message: detail } = error;
  const headers = new Headers({ 'content-type': 'application/problem+json' });
  if (status === 401) headers.set('www-authenticate', 'Bearer');
  const problem = { type: 'about:blank', title, status, code, detail };
  return new Response(JSON.stringify(problem), { status, headers });
}

/** A Response is the output itself, so a status other than 200 is a mistake rather than a decision. */
function passedThrough(response: Response, progress: number | null): Response {
  if (response.status !== 200) {
    throw new HandlerError(
      'output-invalid',
      `A task may return a Response with status 200 only, got ${response.status}; throw an error to be retried, or a FatalTaskError to fail`,
    );
  }
  const headers = new Headers(response.headers);
  for (const [name, value] of Object.entries(told(progress))) headers.set(name, value);
  return new Response(response.body, { status: 200, headers });
}

function told(progress: number | null): Record<string, string> {
  return progress === null ? {} : { [HEADER.progress]: String(progress) };
}

function errorText(error: unknown): string {
  const text = error instanceof Error ? error.message || error.name : String(error);
  return text.slice(0, MAX_ERROR_CHARACTERS).toWellFormed();
}
