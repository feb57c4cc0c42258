/**
 * HTTP in: a request is authenticated, its body bounded and parsed, and handed to a route, which
 * calls verbs of the store. What anything throws becomes a problem in one place (`problem.ts`).
 * The app is a plain `(Request) => Response`; sockets are opened by whoever serves it.
 */

import type { Log } from '../log.ts';
import { sqlState } from '../store/errors.ts';
import { allowedMethods } from './allowed-methods.ts';
import { authenticate } from './auth.ts';
import { calendarRoutes } from './calendar-routes.ts';
import { describeApi } from './describe-api.ts';
import { dispatcherRoutes } from './dispatcher-routes.ts';
import { docsRoutes } from './docs.ts';
import { healthRoutes } from './health.ts';
import type { ApiParts } from './parts.ts';
import { asProblem, ProblemError, problemResponse } from './problem.ts';
import { createQueueCache } from './queue-cache.ts';
import { queueRoutes } from './queue-routes.ts';
import { createRouter, type Router } from './router.ts';
import { taskCreateRoutes } from './task-create-routes.ts';
import { taskProgressRoutes } from './task-progress-routes.ts';
import { taskRoutes } from './task-routes.ts';
import { wellKnownRoutes } from './well-known.ts';

/**
 * The REST API of the wire contract, with its documents.
 *
 * @example
 * const api = createApi(parts);
 * const response = await api.request('/v1/queues', { headers: { authorization } });
 */
export function createApi(parts: ApiParts): Router {
  const api = createRouter();
  const routeParts = { ...parts, queueCache: createQueueCache(parts.database) };

  api.use(async (c, next) => {
    await next();
    c.res.headers.set('x-content-type-options', 'nosniff');
  });
  api.route('/', taskProgressRoutes(routeParts));
  api.use('/v1/*', authenticate(parts));
  api.route('/', queueRoutes(routeParts));
  api.route('/', calendarRoutes(routeParts));
  api.route('/', dispatcherRoutes(routeParts));
  api.route('/', taskCreateRoutes(routeParts));
  api.route('/', taskRoutes(routeParts));
  api.route('/', wellKnownRoutes(parts));
  api.route('/', healthRoutes(parts));
  api.route(
    '/',
    docsRoutes(() => describeApi(api)),
  );

  api.notFound((c) => problemResponse(nowhere(api, c.req.method, c.req.path)));
  api.onError((error, c) => {
    const problem = asProblem(error, c.req.method);
    if (problem !== null) return problemResponse(problem);
    logBug(parts.log, error, c.req.method, c.req.routePath);
    return problemResponse(
      new ProblemError('internal-error', 'An error of ours; it is in the log of this process'),
    );
  });
  return api;
}

function nowhere(api: Router, method: string, path: string): ProblemError {
  const allow = allowedMethods(api.routes, path);
  if (allow.length === 0) return new ProblemError('not-found', `There is nothing at ${path}`);
  return new ProblemError(
    'method-not-allowed',
    `${path} takes ${allow.join(', ')}, got ${method}`,
    {},
    { allow: allow.join(', ') },
  );
}

/** Where it was thrown, never its message: the database puts values, and so payloads, into its own. */
function logBug(log: Log, error: Error, method: string, route: string): void {
  const code = sqlState(error) ?? error.name;
  const at = error.stack
    ?.split('\n')
    .find((line) => line.trimStart().startsWith('at '))
    ?.trim();
  log.error({ code, at, method, route }, 'A request failed');
}
