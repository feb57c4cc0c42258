import { createRoute, z } from '@hono/zod-openapi';
import { setProgress } from '../store/task-progress.ts';
import { accessOf } from './access.ts';
import { jsonBody } from './json-body.ts';
import type { RouteParts } from './parts.ts';
import { ProblemError } from './problem.ts';
import { createRouter, type Router } from './router.ts';
import { objectError, seconds } from './schemas/common.ts';
import { BODY_PROBLEMS, problemResponses } from './schemas/problem.ts';
import { taskParams } from './schemas/task.ts';
import { authenticateAttempt } from './task-attempt-auth.ts';
import { notFound } from './task-routes.ts';

/** Stands before the routes that demand an API key, as it also takes an attempt's own token. */
export function taskProgressRoutes(parts: RouteParts): Router {
  const router = createRouter();

  router.openapi(progressRoute(parts), async (c) => {
    const { taskId } = c.req.valid('param');
    const { progress } = c.req.valid('json');
    const { project, leaseId = null } = c.var;
    const set = await parts.database.run((sql) =>
      setProgress(sql, { project, taskId, progress, leaseId }),
    );
    switch (set) {
      case 'set':
        return c.body(null, 204);
      case 'lease-lost':
        throw new ProblemError('lease-lost', 'The attempt has ended or was given up; stop working');
      case 'ended':
        throw new ProblemError('task-finished', 'The task has ended; its progress stays as it is');
      case 'not-found':
        return notFound(taskId);
    }
  });

  return router;
}

function progressRoute(parts: RouteParts) {
  const schema = z.strictObject({ progress: seconds(0, 100) }, { error: objectError });
  return createRoute({
    method: 'put',
    path: '/v1/tasks/{taskId}/progress',
    operationId: 'setProgress',
    tags: ['Tasks'],
    summary: 'Tell how far a task has come',
    description:
      "Takes an API key, or the attempt's own token as it came in `Errand-Authorization`, for as long as its lease is live, whatever the token's `exp`. Safe to repeat.",
    middleware: [
      authenticateAttempt(parts, accessOf('PUT', '/v1/tasks/{taskId}/progress')!),
      jsonBody(),
    ] as const,
    request: {
      params: taskParams,
      query: z.strictObject({}),
      body: { required: true, content: { 'application/json': { schema } } },
    },
    responses: {
      204: { description: 'It was set.' },
      ...problemResponses(
        'not-found',
        'lease-lost',
        'task-finished',
        ...BODY_PROBLEMS,
        'outcome-unknown',
      ),
    },
  });
}
