import type { MiddlewareHandler } from 'hono';
import { hasScope, mayUseQueue } from '../policy/access.ts';
import type { KeyScope } from '../protocol/access.ts';
import { TASK_ID_PATTERN } from '../protocol/limits.ts';
import type { Database } from '../store/database.ts';
import { findTaskQueue } from '../store/task-queue.ts';
import type { Caller } from './auth.ts';
import { ProblemError } from './problem.ts';
import type { ApiEnv } from './router.ts';
import { notFound } from './task-routes.ts';

/** What a route asks of a key. */
export interface Access {
  /** `operator`: only the admin key of the service. */
  scope: KeyScope | 'operator';
  /** What it touches, for keys that are limited to queues. */
  over: Reach;
}

/**
 * - `queue`: the queue that the path names.
 * - `task`: the queue of the task that the path names.
 * - `list`: the route shows no more than the queues that the key may use.
 * - `project`: more than single queues, so that a limited key is refused.
 * - `nothing`: what does not belong to queues.
 */
type Reach = 'queue' | 'task' | 'list' | 'project' | 'nothing';

/** What every route under /v1 needs. One that is not here is not served: see `createApi`. */
export const ACCESS: Readonly<Record<string, Access>> = {
  'POST /v1/queues/{queue}/tasks': { scope: 'enqueue', over: 'queue' },
  'POST /v1/queues/{queue}/tasks/batch': { scope: 'enqueue', over: 'queue' },

  'GET /v1/queues': { scope: 'read', over: 'list' },
  'GET /v1/queues/{queue}': { scope: 'read', over: 'queue' },
  'GET /v1/tasks': { scope: 'read', over: 'list' },
  'GET /v1/tasks/{taskId}': { scope: 'read', over: 'task' },
  'GET /v1/tasks/{taskId}/attempts': { scope: 'read', over: 'task' },
  'GET /v1/tasks/{taskId}/output': { scope: 'read', over: 'task' },
  'GET /v1/calendars': { scope: 'read', over: 'nothing' },
  'GET /v1/calendars/{calendar}': { scope: 'read', over: 'nothing' },
  'GET /v1/dispatchers': { scope: 'read', over: 'nothing' },

  'PUT /v1/queues/{queue}': { scope: 'manage', over: 'queue' },
  'PATCH /v1/queues/{queue}': { scope: 'manage', over: 'queue' },
  'DELETE /v1/queues/{queue}': { scope: 'manage', over: 'queue' },
  'POST /v1/queues/{queue}/pause': { scope: 'manage', over: 'queue' },
  'POST /v1/queues/{queue}/resume': { scope: 'manage', over: 'queue' },
  'POST /v1/queues/{queue}/purge': { scope: 'manage', over: 'queue' },
  'DELETE /v1/tasks/{taskId}': { scope: 'manage', over: 'task' },
  'POST /v1/tasks/{taskId}/cancel': { scope: 'manage', over: 'task' },
  'POST /v1/tasks/{taskId}/run': { scope: 'manage', over: 'task' },
  'POST /v1/tasks/{taskId}/retry': { scope: 'manage', over: 'task' },
  'PUT /v1/tasks/{taskId}/progress': { scope: 'manage', over: 'task' },
  'PUT /v1/calendars/{calendar}': { scope: 'manage', over: 'project' },
  'DELETE /v1/calendars/{calendar}': { scope: 'manage', over: 'project' },

  'GET /v1/queues/{queue}/webhook-secrets': { scope: 'admin', over: 'queue' },
  'POST /v1/queues/{queue}/webhook-secrets': { scope: 'admin', over: 'queue' },
  'DELETE /v1/queues/{queue}/webhook-secrets/{secretId}': { scope: 'admin', over: 'queue' },
  'GET /v1/keys': { scope: 'admin', over: 'project' },
  'POST /v1/keys': { scope: 'admin', over: 'project' },
  'DELETE /v1/keys/{keyId}': { scope: 'admin', over: 'project' },

  'GET /v1/projects': { scope: 'operator', over: 'project' },
  'GET /v1/projects/{project}': { scope: 'operator', over: 'project' },
  'PUT /v1/projects/{project}': { scope: 'operator', over: 'project' },
  'PATCH /v1/projects/{project}': { scope: 'operator', over: 'project' },
};

/** A route in the words of the table above. */
export function accessOf(method: string, path: string): Access | undefined {
  return ACCESS[`${method.toUpperCase()} ${path.replace(/:(\w+)/g, '{$1}')}`];
}

/** In the words of the API's description. */
export function describeAccess({ scope, over }: Access): string {
  if (scope === 'operator') return 'Needs the admin key.';
  const limit = over === 'project' ? ' that is not limited to queues' : '';
  return `Needs a key with scope \`${scope}\`${limit}.`;
}

/**
 * Lets in who has the scope, in the queue that is meant. Comes after `authenticate`. Whether what a
 * limited key may not touch exists at all is told by nothing: for a queue the answer is 403 before
 * anyone looks, for a task it is the 404 of a task that is not there, after the same look.
 */
export function authorize(access: Access, database: Database): MiddlewareHandler<ApiEnv> {
  return async (c, next) => {
    const { caller } = c.var;
    checkScope(caller, access);
    if (caller.queues !== null) {
      if (access.over === 'project') throw limited(caller);
      if (access.over === 'queue') checkQueue(caller, c.req.param('queue') ?? '');
      if (access.over === 'task') await checkTask(database, caller, c.req.param('taskId') ?? '');
    }
    await next();
  };
}

function checkScope(caller: Caller, { scope }: Access): void {
  if (caller.isOperator) return;
  if (scope === 'operator') {
    throw new ProblemError('forbidden', 'Only the admin key of the service may do this');
  }
  if (hasScope(caller, scope)) return;
  const has = caller.scopes.join(', ');
  throw new ProblemError('forbidden', `This needs an API key with scope ${scope}, got ${has}`);
}

/** Throws 403 unless the key may use the queue. */
export function checkQueue(caller: Caller, queue: string): void {
  if (!mayUseQueue(caller, queue)) throw limited(caller);
}

async function checkTask(database: Database, caller: Caller, taskId: string): Promise<void> {
  if (!TASK_ID_PATTERN.test(taskId)) return; // The route says that there is no such thing.
  const { project } = caller;
  const queue = await database.run((sql) => findTaskQueue(sql, { project, taskId }));
  if (queue === null || !mayUseQueue(caller, queue)) notFound(taskId);
}

function limited({ queues }: Caller): ProblemError {
  const names = queues?.join(', ');
  return new ProblemError('forbidden', `The API key is limited to the queues ${names}`);
}
