import { type Hook, OpenAPIHono } from '@hono/zod-openapi';
import { z } from 'zod';
import type { Caller } from './auth.ts';
import { expectation, inputErrors } from './input-errors.ts';
import { invalidRequest, ProblemError } from './problem.ts';

/** What the middleware leaves for the handlers. */
export interface ApiEnv {
  Variables: {
    /** The project that the key acts in; set on every `/v1` route. */
    project: string;
    /** Who holds the key; not set where an attempt's own token let the request in. */
    caller: Caller;
    /** The lease of the attempt whose own token let the request in, where that may. */
    leaseId?: string;
  };
}

export type Router = OpenAPIHono<ApiEnv>;

// Zod's message of an issue is what we show as `expected`; a schema's own `error` goes before this.
z.config({ localeError: expectation });

/** A router whose routes answer bad input with the wire contract's problems. */
export function createRouter(): Router {
  return new OpenAPIHono<ApiEnv>({ defaultHook: refuseInvalid });
}

/** A name or id in the path that cannot exist is simply not there, unless it was to be created. */
const refuseInvalid: Hook<unknown, ApiEnv, string, void> = (result, c) => {
  if (result.success) return;
  const input = 'data' in result ? result.data : undefined;
  const isCreated = c.req.method === 'PUT' && !result.error.issues.some(isAboutTask);
  if (result.target === 'param' && !isCreated) {
    throw new ProblemError('not-found', `There is nothing at ${c.req.path}`);
  }
  throw invalidRequest(inputErrors(result.error.issues, input, result.target));
};

/** Tasks get their ids from us, so PUT never creates one. */
function isAboutTask({ path }: z.core.$ZodIssue): boolean {
  return path[0] === 'taskId';
}
