import { createHash } from 'node:crypto';
import type { QueueRecord, WakeUp } from '../model.ts';
import type { CreateTask, Task } from '../protocol/resources.ts';
import { type DataKey, sealContent } from '../store/content-seal.ts';
import type { Enqueued, NewTask } from '../store/enqueue.ts';
import { isDatabaseAway } from '../store/errors.ts';
import { readTask } from '../store/task-read.ts';
import { createAdmissions } from './admission.ts';
import { inputErrors } from './input-errors.ts';
import type { RouteParts } from './parts.ts';
import { asProblem, invalidRequest, ProblemError, problemBody } from './problem.ts';
import { notFound } from './queue-routes.ts';
import { createRouter, type Router } from './router.ts';
import { createTaskSchema } from './schemas/task-create.ts';
import { dataKeyOf, shownTask } from './task-content.ts';
import { createEnqueuer } from './task-enqueuer.ts';
import { resolveTask } from './task-resolve.ts';
import { createdResource } from './task-resource.ts';
import * as route from './task-route-definitions.ts';

/** What a new task is enqueued with. */
interface Enqueue {
  queue: QueueRecord;
  /** Its Idempotency-Key. */
  key: string | undefined;
  dataKey: DataKey | null;
}

interface Answer {
  status: 200 | 201;
  task: Task;
}

export function taskCreateRoutes(parts: RouteParts): Router {
  const router = createRouter();
  const enqueuer = createEnqueuer(parts.database, parts.reserve);
  const admissions = createAdmissions(parts.database);

  router.openapi(route.create, async (c) => {
    const queue = await findQueue(parts, c.var.project, c.req.valid('param').queue);
    const key = c.req.valid('header')['idempotency-key'];
    const dataKey = await dataKeyOf(parts, c.var.caller);
    const task = newTask(parts, c.req.valid('json'), { queue, key, dataKey });
    const { answers, giveBack } = await admissions.admit(queue, [task], c.var.caller.quotas);
    const known = answers.get(task);
    if (known instanceof ProblemError) throw known;
    const { result, isTaken } =
      known === undefined ? await enqueuer.one(task) : { result: known, isTaken: true };
    if (result.kind !== 'created') giveBack(known === undefined ? 1 : 0);
    else if (!isTaken) parts.wake([wakeUpOf(task, result)]);
    const answer = await answerTo(parts, queue, task, result);
    if (answer.status === 200) return c.json(answer.task, 200);
    return c.json(answer.task, 201, { location: `/v1/tasks/${answer.task.id}` });
  });

  router.openapi(route.createBatch, async (c) => {
    const queue = await findQueue(parts, c.var.project, c.req.valid('param').queue);
    const key = c.req.valid('header')['idempotency-key'];
    const dataKey = await dataKeyOf(parts, c.var.caller);
    const parsed = c.req.valid('json').tasks.map((input, index) => {
      const ofItem = key === undefined ? key : `${key}/${index}`;
      return parseItem(parts, input, index, { queue, key: ofItem, dataKey });
    });
    const tasks = parsed.filter((item): item is NewTask => !(item instanceof ProblemError));
    const { accepted, answers, giveBack } = await admissions.admit(
      queue,
      tasks,
      c.var.caller.quotas,
    );
    const enqueued = await enqueuer.all(accepted);
    giveBack(enqueued.filter((result) => 'kind' in result && result.kind !== 'created').length);
    const resultOf = new Map<NewTask, Enqueued | Error>(answers);
    for (const [at, task] of accepted.entries()) resultOf.set(task, enqueued[at]!);
    const results = [...resultOf.values()];
    if (results.length > 0 && results.every(isDatabaseAway)) throw results[0];
    parts.wake(
      enqueued.flatMap((result, at) =>
        'kind' in result && result.kind === 'created' ? [wakeUpOf(accepted[at]!, result)] : [],
      ),
    );
    const items = parsed.map(async (item) => {
      if (item instanceof ProblemError) return problemItem(item);
      const result = resultOf.get(item)!;
      if (result instanceof Error) return problemItem(asItemProblem(parts, result));
      return answerTo(parts, queue, item, result).catch((error) =>
        problemItem(asItemProblem(parts, error)),
      );
    });
    return c.json({ items: await Promise.all(items) }, 200);
  });

  return router;
}

async function findQueue(parts: RouteParts, project: string, name: string): Promise<QueueRecord> {
  return (await parts.queueCache.get(project, name)) ?? notFound(name);
}

function newTask(
  { targetRefusal }: RouteParts,
  input: CreateTask,
  { queue, key, dataKey }: Enqueue,
): NewTask {
  const refusal = (url: URL) => targetRefusal?.(url, queue.pool) ?? null;
  const resolved = resolveTask(input, queue, refusal);
  if ('errors' in resolved) throw invalidRequest(resolved.errors);
  const idempotency = key === undefined ? null : { key, requestHash: hashOf(input) };
  const sealed = dataKey && sealContent(dataKey, queue.id, resolved.task);
  return { ...resolved.task, idempotency, sealed };
}

/** Pointers lead from the root of the request's body. */
function parseItem(
  parts: RouteParts,
  input: unknown,
  index: number,
  into: Enqueue,
): NewTask | ProblemError {
  try {
    const parsed = createTaskSchema.safeParse(input);
    if (parsed.success) return newTask(parts, parsed.data, into);
    throw invalidRequest(inputErrors(parsed.error.issues, input, 'json'));
  } catch (error) {
    if (!(error instanceof ProblemError)) throw error;
    const errors = error.extras.errors ?? [];
    return invalidRequest(
      errors.map((each) => ({ ...each, pointer: `/tasks/${index}${each.pointer}` })),
    );
  }
}

/** What a request comes to. A task that a key created is shown for as long as its rows lie there. */
async function answerTo(
  parts: RouteParts,
  queue: QueueRecord,
  task: NewTask,
  result: Enqueued,
): Promise<Answer> {
  const { taskId } = result;
  switch (result.kind) {
    case 'created':
      return { status: 201, task: createdResource(queue.name, task, result) };
    case 'repeated': {
      const ref = { project: queue.project, taskId };
      const first = await parts.database.run((sql) =>
        readTask(sql, ref, { isPastRetentionShown: true }),
      );
      if (first !== null) return { status: 200, task: await shownTask(parts, ref.project, first) };
      throw new ProblemError(
        'task-finished',
        `This Idempotency-Key created task ${taskId}, which is no longer kept`,
        { taskId },
      );
    }
    case 'mismatch':
      throw new ProblemError(
        'idempotency-mismatch',
        `This Idempotency-Key created task ${taskId} from another body; use a new key for a new task`,
        { taskId },
      );
    case 'name-taken':
      throw new ProblemError(
        'name-taken',
        `Queue "${queue.name}" has a task named "${task.name}", or had one until lately`,
        { taskId },
      );
  }
}

function problemItem(problem: ProblemError) {
  const body = problemBody(problem);
  return { status: body.status, problem: body };
}

function asItemProblem({ log }: RouteParts, error: unknown): ProblemError {
  const problem = asProblem(error, 'POST');
  if (problem !== null) return problem;
  const code = (error as { code?: unknown }).code ?? (error as Error).name;
  log.error({ code }, 'A task of a batch failed');
  return new ProblemError('internal-error', 'An error of ours; it is in the log of this process');
}

function wakeUpOf(task: NewTask, created: Extract<Enqueued, { kind: 'created' }>): WakeUp {
  const { seq, dueInSeconds } = created;
  return { shard: task.shard, queue: task.queue, rank: task.rank, seq, dueInSeconds };
}

/** Keys of an object come in no order, so that the same request has the same hash however it is written. */
function hashOf(input: CreateTask): Uint8Array {
  const canonical = JSON.stringify(input, (_, value) =>
    typeof value === 'object' && value !== null && !Array.isArray(value)
      ? Object.fromEntries(Object.entries(value).sort(([a], [b]) => (a < b ? -1 : 1)))
      : value,
  );
  return createHash('sha256').update(canonical).digest();
}
