import type { Output } from '../model.ts';
import { listAttempts } from '../store/task-attempts.ts';
import { cancelTask } from '../store/task-cancel.ts';
import { deleteTask } from '../store/task-delete.ts';
import { listTasks, type TaskFilter, type TaskPage } from '../store/task-list.ts';
import { readOutput } from '../store/task-output.ts';
import { readTask, type TaskRecord } from '../store/task-read.ts';
import { retryTask } from '../store/task-retry.ts';
import { runTask } from '../store/task-run.ts';
import { openCursor, sealCursor } from './cursor.ts';
import type { RouteParts } from './parts.ts';
import { ProblemError } from './problem.ts';
import { createRouter, type Router } from './router.ts';
import { pageLimit } from './schemas/page.ts';
import { shownTask } from './task-content.ts';
import { attemptResource } from './task-resource.ts';
import * as route from './task-route-definitions.ts';

/** A page is filled from this many looks at most; then it is short, and the next goes on. */
const MOST_LOOKS = 10;

export function taskRoutes(parts: RouteParts): Router {
  const { database, wake } = parts;
  const router = createRouter();
  const shown = (project: string, task: TaskRecord) => shownTask(parts, project, task);

  router.openapi(route.list, async (c) => {
    const { queue = null, state = null, owner = null, limit: asked, cursor } = c.req.valid('query');
    const limit = pageLimit(asked);
    const { caller } = c.var;
    const before = cursor === undefined ? null : openCursor(caller, 'tasks', cursor);
    const { project, queues: among } = caller;
    const filter = { project, among, queue, state, owner, limit, before };
    const { tasks, next } = await fillPage(filter, (rest) =>
      database.run((sql) => listTasks(sql, rest)),
    );
    const nextCursor = next === null ? null : sealCursor(caller, 'tasks', next);
    const items = await Promise.all(tasks.map((task) => shown(project, task)));
    return c.json({ items, nextCursor }, 200);
  });

  router.openapi(route.get, async (c) => {
    const ref = { project: c.var.project, ...c.req.valid('param') };
    const withPayload = c.req.valid('query').view === 'full';
    const task = await database.run((sql) => readTask(sql, ref, { withPayload }));
    return c.json(await shown(ref.project, task ?? notFound(ref.taskId)), 200);
  });

  router.openapi(route.remove, async (c) => {
    const ref = { project: c.var.project, ...c.req.valid('param') };
    const deleted = await database.run((sql) => deleteTask(sql, ref));
    if (deleted.kind === 'not-found') notFound(ref.taskId);
    if (deleted.kind === 'leased') {
      const what = 'it was asked to end as cancelled, remove it when it has';
      throw new ProblemError('task-leased', `The task is being dispatched: ${what}`);
    }
    if (deleted.kind === 'deleted') wake(deleted.wakeUps);
    return c.body(null, 204);
  });

  router.openapi(route.actions.cancel, async (c) => {
    const ref = { project: c.var.project, ...c.req.valid('param') };
    const cancelled = await database.run((sql) => cancelTask(sql, ref));
    if (cancelled.kind === 'not-found') notFound(ref.taskId);
    if (cancelled.kind === 'cancelled') wake(cancelled.wakeUps);
    return c.json(await shown(ref.project, cancelled.task), 200);
  });

  router.openapi(route.actions.run, async (c) => {
    const ref = { project: c.var.project, ...c.req.valid('param') };
    const run = await database.run((sql) => runTask(sql, ref));
    switch (run.kind) {
      case 'ready':
        wake([run.wakeUp]);
        return c.json(await shown(ref.project, run.task), 200);
      case 'leased':
        throw new ProblemError('task-leased', 'The task is being dispatched already');
      case 'ended':
        throw new ProblemError(
          'task-finished',
          `The task has ended; one that failed can be retried`,
        );
      case 'not-found':
        return notFound(ref.taskId);
    }
  });

  router.openapi(route.actions.retry, async (c) => {
    const ref = { project: c.var.project, ...c.req.valid('param') };
    const retried = await database.run((sql) => retryTask(sql, ref));
    switch (retried.kind) {
      case 'ready':
        wake([retried.wakeUp]);
        return c.json(await shown(ref.project, retried.task), 200);
      case 'name-taken': {
        const { taskId } = retried;
        throw new ProblemError('name-taken', 'Another task has its name now', { taskId });
      }
      case 'succeeded':
        throw new ProblemError(
          'task-finished',
          'The task has succeeded; enqueue a new one instead',
        );
      case 'purged':
        throw new ProblemError(
          'task-finished',
          'Its queue was purged after the task was created; enqueue a new one instead',
        );
      case 'live':
        throw new ProblemError('task-live', 'Only a task that failed or was cancelled is retried');
      case 'not-found':
        return notFound(ref.taskId);
    }
  });

  router.openapi(route.listAttempts, async (c) => {
    const ref = { project: c.var.project, ...c.req.valid('param') };
    const { limit: asked, cursor } = c.req.valid('query');
    const limit = pageLimit(asked);
    const list = `tasks/${ref.taskId}/attempts` as const;
    const after = cursor === undefined ? null : openCursor(c.var.caller, list, cursor);
    const page = await database.run((sql) => listAttempts(sql, { ...ref, limit, after }));
    const { attempts, hasMore } = page ?? notFound(ref.taskId);
    const last = hasMore ? attempts.at(-1) : undefined;
    const nextCursor = last ? sealCursor(c.var.caller, list, last.leaseId) : null;
    return c.json({ items: attempts.map(attemptResource), nextCursor }, 200);
  });

  router.openapi(route.getOutput, async (c) => {
    const ref = { project: c.var.project, ...c.req.valid('param') };
    const output = await database.run((sql) => readOutput(sql, ref));
    if (output === null) {
      throw new ProblemError('not-found', `Task ${ref.taskId} is not there or has no output`);
    }
    return new Response(Buffer.from(output.body), { headers: outputHeaders(output) });
  });

  return router;
}

/** Another project's task is not there either. */
export function notFound(taskId: string): never {
  throw new ProblemError('not-found', `There is no task ${taskId}, or it is no longer kept`);
}

/** One look may yield less than a page because of what it must hide; most often one is enough. */
async function fillPage(
  filter: TaskFilter,
  look: (filter: TaskFilter) => Promise<TaskPage>,
): Promise<TaskPage> {
  const tasks: TaskPage['tasks'] = [];
  let next = filter.before;
  for (let looks = 0; looks < MOST_LOOKS; looks += 1) {
    const page = await look({ ...filter, limit: filter.limit - tasks.length, before: next });
    tasks.push(...page.tasks);
    next = page.next;
    if (next === null || tasks.length === filter.limit) break;
  }
  return { tasks, next };
}

/** It is someone else's content on our origin: it must never run there as a page. */
function outputHeaders({ contentType, fileName }: Output): Record<string, string> {
  const isSendable = contentType !== null && /^[\x20-\x7e]+$/.test(contentType);
  const name = fileName?.toWellFormed().replace(/\p{Cc}/gu, '') ?? '';
  return {
    'content-type': isSendable ? contentType : 'application/octet-stream',
    'content-disposition': name === '' ? 'attachment' : attachment(name),
    'content-security-policy': "default-src 'none'; sandbox",
    'x-content-type-options': 'nosniff',
    'cache-control': 'private, no-store',
  };
}

/** Source: RFC 6266, section 4.3, and RFC 8187 for names beyond ASCII. */
function attachment(name: string): string {
  const ascii = name.replace(/[^\x20-\x7e]|["\\%]/g, '_');
  const encoded = encodeURIComponent(name).replace(
    /['()*]/g,
    (c) => `%${c.charCodeAt(0).toString(16)}`,
  );
  return `attachment; filename="${ascii}"; filename*=UTF-8''${encoded}`;
}
