import type { QueueRecord, QueueSettings } from '../model.ts';
import { isOpen, nextOpening } from '../policy/windows.ts';
import type { Queue } from '../protocol/resources.ts';
import { findCalendar } from '../store/calendar.ts';
import type { Sql } from '../store/database.ts';
import {
  findQueue,
  listQueues,
  type PartialQueueSettings,
  resolveSettings,
} from '../store/queue.ts';
import { isUnknownCalendar, patchQueue, putQueue, setQueuePaused } from '../store/queue-change.ts';
import { deleteQueue, purgeQueue } from '../store/queue-removal.ts';
import { queueStats } from '../store/queue-stats.ts';
import { readQueueStatus } from '../store/queue-status.ts';
import { openCursor, sealCursor } from './cursor.ts';
import type { RouteParts } from './parts.ts';
import { invalidRequest, ProblemError } from './problem.ts';
import {
  baseUrlErrors,
  changesHours,
  queueSettingsErrors,
  unknownCalendar,
} from './queue-checks.ts';
import * as route from './queue-route-definitions.ts';
import { createRouter, type Router } from './router.ts';
import { pageLimit } from './schemas/page.ts';

/** A deletion may have to look through a long schedule. */
const DELETE_TIMEOUT_MS = 20_000;

export function queueRoutes({ database, queueCache, targetRefusal }: RouteParts): Router {
  const router = createRouter();

  /** Throws `invalid-request` for settings that contradict each other. */
  async function check(project: string, given: PartialQueueSettings, resolved: QueueSettings) {
    const { businessDaysOnly: name } = resolved;
    const isNeeded = name !== null && changesHours(given);
    const calendar = isNeeded
      ? await database.run((sql) => findCalendar(sql, project, name))
      : null;
    const errors = [
      ...queueSettingsErrors(given, resolved, calendar, new Date()),
      ...baseUrlErrors(given, (url) => targetRefusal?.(url, resolved.pool) ?? null),
    ];
    if (errors.length > 0) throw invalidRequest(errors);
  }

  /** A calendar may be deleted after it was checked. */
  async function changed<Result>(
    given: PartialQueueSettings,
    verb: (sql: Sql) => Promise<Result>,
  ): Promise<Result> {
    try {
      return await database.run(verb);
    } catch (error) {
      if (!isUnknownCalendar(error)) throw error;
      throw invalidRequest([unknownCalendar(given.businessDaysOnly ?? '')]);
    }
  }

  router.openapi(route.list, async (c) => {
    const { limit: asked, cursor } = c.req.valid('query');
    const limit = pageLimit(asked);
    const { project, caller } = c.var;
    const afterName = cursor === undefined ? '' : openCursor(caller, 'queues', cursor);
    const found = await database.run((sql) =>
      listQueues(sql, { project, afterName, limit: limit + 1, among: caller.queues }),
    );
    const items = found.slice(0, limit);
    const last = found.length > limit ? items.at(-1) : undefined;
    const nextCursor = last ? sealCursor(caller, 'queues', last.name) : null;
    return c.json({ items: items.map(queueResource), nextCursor }, 200);
  });

  router.openapi(route.get, async (c) => {
    const { queue: name } = c.req.valid('param');
    const queue = await database.run((sql) => findQueue(sql, c.var.project, name));
    const found = queue ?? notFound(name);
    const [counts, status] = await Promise.all([
      database.run((sql) => queueStats(sql, found)),
      database.run((sql) => readQueueStatus(sql, found)),
    ]);
    const stats = { ...counts, oldestReadyAt: counts.oldestReadyAt?.toISOString() ?? null };
    const closedUntil = opensAt(found)?.toISOString() ?? null;
    return c.json({ ...queueResource(found), stats, status: { ...status, closedUntil } }, 200);
  });

  router.openapi(route.put, async (c) => {
    const { queue: name } = c.req.valid('param');
    const settings = c.req.valid('json');
    const { project } = c.var;
    await check(project, settings, resolveSettings(settings));
    const { queue, isCreated } = await changed(settings, (sql) =>
      putQueue(sql, { project, name, settings }),
    );
    queueCache.forget(project, name);
    return c.json(queueResource(queue), isCreated ? 201 : 200);
  });

  router.openapi(route.patch, async (c) => {
    const { queue: name } = c.req.valid('param');
    const settings = c.req.valid('json');
    const { project } = c.var;
    // Two patches that contradict each other only together may both pass: then the stricter limit holds.
    const before = await database.run((sql) => findQueue(sql, project, name));
    await check(project, settings, resolveSettings(settings, (before ?? notFound(name)).settings));
    const queue = await changed(settings, (sql) => patchQueue(sql, { project, name, settings }));
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

/** Reckoned here, so that it is right also where nobody serves the queue. */
function opensAt({ settings, calendar }: QueueRecord): Date | null {
  const hours = { windows: settings.activeWindows, calendar };
  const now = new Date();
  return isOpen(hours, now) ? null : nextOpening(hours, now);
}
