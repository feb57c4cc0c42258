/**
 * HTTP in: a request is authenticated, its body bounded and parsed, and handed to a route, which
 * calls verbs of the store. What anything throws becomes a problem in one place (`problem.ts`).
 * The app is a plain `(Request) => Response`; sockets are opened by whoever serves it.
 */

import type { Log } from '../log.ts';
import type { Database } from '../store/database.ts';
import { sqlState } from '../store/errors.ts';
import { createKeyring } from '../store/keyring.ts';
import { createVault } from '../store/vault.ts';
import { allowedMethods } from './allowed-methods.ts';
import { accessOf, ACCESS, authorize } from './access.ts';
import { authenticate } from './auth.ts';
import { calendarRoutes } from './calendar-routes.ts';
import { describeApi } from './describe-api.ts';
import { dispatcherRoutes } from './dispatcher-routes.ts';
import { docsRoutes } from './docs.ts';
import { healthRoutes } from './health.ts';
import { createKeyDirectory } from './key-directory.ts';
import { keyRoutes } from './key-routes.ts';
import type { ApiParts } from './parts.ts';
import { asProblem, ProblemError, problemResponse } from './problem.ts';
import { projectRoutes } from './project-routes.ts';
import { createQueueCache } from './queue-cache.ts';
import { queueRoutes } from './queue-routes.ts';
import { createRouter, type Router } from './router.ts';
import { taskCreateRoutes } from './task-create-routes.ts';
import { taskProgressRoutes } from './task-progress-routes.ts';
import { taskRoutes } from './task-routes.ts';
import { webhookSecretRoutes } from './webhook-secret-routes.ts';
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
  const queueCache = createQueueCache(parts.database);
  const { database, vault = createVault([]) } = parts;
  const keyring = createKeyring(database, vault);
  const keys = createKeyDirectory(database);
  const routeParts = { ...parts, queueCache, keyring, keys, vault };

  api.use(async (c, next) => {
    await next();
    c.res.headers.set('x-content-type-options', 'nosniff');
  });
  api.route('/', taskProgressRoutes(routeParts));
  api.use('/v1/*', authenticate(parts, routeParts.keys));
  authorizeAll(api, parts.database);
  api.route('/', queueRoutes(routeParts));
  api.route('/', calendarRoutes(routeParts));
  api.route('/', dispatcherRoutes(routeParts));
  api.route('/', taskCreateRoutes(routeParts));
  api.route('/', taskRoutes(routeParts));
  api.route('/', keyRoutes(routeParts));
  api.route('/', projectRoutes(routeParts));
  api.route('/', webhookSecretRoutes(routeParts));
  api.route('/', wellKnownRoutes(parts));
  api.route('/', healthRoutes(parts));
  api.route(
    '/',
    docsRoutes(() => describeApi(api)),
  );

  checkAccess(api);

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

/** Each route of the table is guarded before it is there: what comes later finds it so. */
function authorizeAll(api: Router, database: Database): void {
  for (const [route, access] of Object.entries(ACCESS)) {
    const [method = '', path = ''] = route.split(' ');
    api.on(method, path.replace(/\{(\w+)\}/g, ':$1'), authorize(access, database));
  }
}

/** A route that was forgotten in the table must not be open to every key. */
function checkAccess(api: Router): void {
  for (const { method, path } of api.routes) {
    if (method === 'ALL' || !path.startsWith('/v1/') || accessOf(method, path)) continue;
    throw new Error(`${method} ${path} is not in the table of api/access.ts`);
  }
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
