import type { QueueRecord } from '../model.ts';
import type { Queue } from '../protocol/resources.ts';
import { findQueue, listQueues } from '../store/queue.ts';
import { patchQueue, putQueue, setQueuePaused } from '../store/queue-change.ts';
import { deleteQueue, purgeQueue } from '../store/queue-removal.ts';
import { queueStats } from '../store/queue-stats.ts';
import type { RouteParts } from './parts.ts';
import { ProblemError } from './problem.ts';
import * as route from './queue-route-definitions.ts';
import { createRouter, type Router } from './router.ts';
import { decodeCursor, encodeCursor, pageLimit } from './schemas/page.ts';

/** A deletion may have to look through a long schedule. */
const DELETE_TIMEOUT_MS = 20_000;

export function queueRoutes({ database, queueCache }: RouteParts): Router {
  const router = createRouter();

  router.openapi(route.list, async (c) => {
    const { limit: asked, cursor } = c.req.valid('query');
    const limit = pageLimit(asked);
    const [afterName = ''] = cursor === undefined ? [] : decodeCursor(cursor, 1);
    const project = c.var.project;
    const found = await database.run((sql) =>
      listQueues(sql, { project, afterName, limit: limit + 1 }),
    );
    const items = found.slice(0, limit);
    const last = found.length > limit ? items.at(-1) : undefined;
    return c.json(
      { items: items.map(queueResource), nextCursor: last ? encodeCursor([last.name]) : null },
      200,
    );
  });

  router.openapi(route.get, async (c) => {
    const { queue: name } = c.req.valid('param');
    const queue = await database.run((sql) => findQueue(sql, c.var.project, name));
    const found = queue ?? notFound(name);
    const counts = await database.run((sql) => queueStats(sql, found));
    const stats = { ...counts, oldestReadyAt: counts.oldestReadyAt?.toISOString() ?? null };
    return c.json({ ...queueResource(found), stats }, 200);
  });

  router.openapi(route.put, async (c) => {
    const { queue: name } = c.req.valid('param');
    const settings = c.req.valid('json');
    const { project } = c.var;
    const { queue, isCreated } = await database.run((sql) =>
      putQueue(sql, { project, name, settings }),
    );
    queueCache.forget(project, name);
    return c.json(queueResource(queue), isCreated ? 201 : 200);
  });

  router.openapi(route.patch, async (c) => {
    const { queue: name } = c.req.valid('param');
    const settings = c.req.valid('json');
    const { project } = c.var;
    const queue = await database.run((sql) => patchQueue(sql, { project, name, settings }));
    queueCache.forget(project, name);
    return c.json(queueResource(queue ?? notFound(name)), 200);
  });

  router.openapi(route.remove, async (c) => {
    const { queue: name } = c.req.valid('param');
    const force = c.req.valid('query').force === 'true';
    const { project } = c.var;
    const deletion = await database.run((sql) => deleteQueue(sql, { project, name, force }), {
      timeoutMs: DELETE_TIMEOUT_MS,
    });
    queueCache.forget(project, name);
    if (deletion === 'not-found') notFound(name);
    if (deletion === 'not-empty') throw notEmpty(name);
    return c.body(null, 204);
  });

  for (const action of ['pause', 'resume', 'purge'] as const) {
    router.openapi(route.actions[action], async (c) => {
      const { queue: name } = c.req.valid('param');
      const { project } = c.var;
      const queue = await database.run((sql) =>
        action === 'purge'
          ? purgeQueue(sql, project, name)
          : setQueuePaused(sql, { project, name, paused: action === 'pause' }),
      );
      queueCache.forget(project, name);
      return c.json(queueResource(queue ?? notFound(name)), 200);
    });
  }

  return router;
}

/** A queue as users see it. */
export function queueResource(queue: QueueRecord): Queue {
  return {
    name: queue.name,
    paused: queue.paused,
    ...queue.settings,
    createdAt: queue.createdAt.toISOString(),
    updatedAt: queue.updatedAt.toISOString(),
  };
}

/** Another project's queue is not there either. */
export function notFound(name: string): never {
  throw new ProblemError(
    'not-found',
    `There is no queue "${name}" in this project; PUT /v1/queues/${name} creates it`,
  );
}

function notEmpty(name: string): ProblemError {
  return new ProblemError(
    'queue-not-empty',
    `Queue "${name}" has tasks that have not ended; wait, purge it, or delete it with ?force=true`,
  );
}
