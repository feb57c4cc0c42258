import { createRoute, z } from '@hono/zod-openapi';
import { LIMIT } from '../protocol/limits.ts';
import { TASK_STATES } from '../protocol/resources.ts';
import { jsonBody } from './json-body.ts';
import { queueNameSchema, queueParams, text } from './schemas/common.ts';
import { pageQuery, pageSchema } from './schemas/page.ts';
import { BODY_PROBLEMS, problemResponses, problemSchema } from './schemas/problem.ts';
import { attemptSchema, taskParams, taskSchema } from './schemas/task.ts';
import { createTaskSchema } from './schemas/task-create.ts';

const tags = ['Tasks'];
const noQuery = z.strictObject({});
const KEY = '1 to 255 printable ASCII characters';

const idempotencyHeaders = z.object({
  'idempotency-key': z
    .string()
    .regex(/^[\x20-\x7e]{1,255}$/, { error: KEY })
    .optional()
    .openapi({
      description: `Makes the request safe to repeat for 24 hours: a repeat is answered with what it created before. ${KEY}, unique in the queue.`,
    }),
});

export const create = createRoute({
  method: 'post',
  path: '/v1/queues/{queue}/tasks',
  operationId: 'createTask',
  tags,
  summary: 'Enqueue a task',
  description:
    'The task is durable once this is answered. With 503 because a name is held by a transaction that is still open nothing was done; repeat it. A queue with its `maxBacklog` of waiting tasks answers 429 `queue-full` (with `Retry-After`), but not to the repeat of a request whose Idempotency-Key has its task already; it is counted once a second, so that it may be passed by a second of the enqueues at other processes. What is above the quotas of the project answers 429 `quota-exceeded` likewise.',
  middleware: jsonBody(),
  request: {
    params: queueParams,
    query: noQuery,
    headers: idempotencyHeaders,
    body: { required: true, content: { 'application/json': { schema: createTaskSchema } } },
  },
  responses: {
    200: ok('The task that the first request of this Idempotency-Key created.', taskSchema),
    201: {
      ...ok('It was created.', taskSchema),
      headers: {
        Location: { description: 'Path of the task.', schema: { type: 'string' as const } },
      },
    },
    ...problemResponses(
      'not-found',
      'name-taken',
      'task-finished',
      'idempotency-mismatch',
      'queue-full',
      'quota-exceeded',
      ...BODY_PROBLEMS,
      'outcome-unknown',
    ),
  },
});

/** Each task is judged by itself, so that a bad one fails alone. */
const batchTask = z.unknown().openapi({ $ref: '#/components/schemas/CreateTask' } as object);

const batchItemSchema = z
  .object({
    status: z.int().openapi({ description: 'As a request for this task alone would answer.' }),
    task: taskSchema.optional(),
    problem: problemSchema.optional(),
  })
  .openapi('BatchItem');

export const createBatch = createRoute({
  method: 'post',
  path: '/v1/queues/{queue}/tasks/batch',
  operationId: 'createTasks',
  tags,
  summary: 'Enqueue up to 1,000 tasks',
  description:
    'Each task succeeds or fails by itself: look at the `status` of each item (201, 200, 400, 409, 422, or 429 and 503 to repeat it). Of a name that comes twice, the first gets it. With an Idempotency-Key, the task at index n has the key `<key>/<n>`.',
  middleware: jsonBody(LIMIT.batchRequestBytes),
  request: {
    params: queueParams,
    query: noQuery,
    headers: idempotencyHeaders,
    body: {
      required: true,
      content: {
        'application/json': {
          schema: z.strictObject({
            tasks: z
              .array(batchTask, { error: 'an array of tasks' })
              .max(LIMIT.batchItems, { error: `at most ${LIMIT.batchItems} tasks` }),
          }),
        },
      },
    },
  },
  responses: {
    200: ok(
      'What became of each task, in their order.',
      z.object({ items: z.array(batchItemSchema) }),
    ),
    ...problemResponses('not-found', ...BODY_PROBLEMS, 'outcome-unknown'),
  },
});

export const list = createRoute({
  method: 'get',
  path: '/v1/tasks',
  operationId: 'listTasks',
  tags,
  summary: 'List tasks, newest first',
  description:
    'A page may have fewer items than the limit, even none, although there are more: `nextCursor` is null only at the end.',
  request: {
    query: z.strictObject({
      queue: queueNameSchema.optional(),
      state: z.enum(TASK_STATES, { error: TASK_STATES.join(', ') }).optional(),
      owner: text(1, 200).optional(),
      ...pageQuery,
    }),
  },
  responses: { 200: ok('A page of tasks.', pageSchema(taskSchema)), ...problemResponses() },
});

export const get = createRoute({
  method: 'get',
  path: '/v1/tasks/{taskId}',
  operationId: 'getTask',
  tags,
  summary: 'Get a task',
  request: {
    params: taskParams,
    query: z.strictObject({
      view: z
        .enum(['basic', 'full'], { error: 'basic, full' })
        .optional()
        .openapi({ description: '`full` includes the payload. Default `basic`.' }),
    }),
  },
  responses: { 200: ok('The task.', taskSchema), ...problemResponses('not-found') },
});

export const remove = createRoute({
  method: 'delete',
  path: '/v1/tasks/{taskId}',
  operationId: 'deleteTask',
  tags,
  summary: 'Cancel a task and remove its record',
  description:
    'Its attempts and its name go with it. A task that is being dispatched cannot be removed under its attempt: it is asked to end as cancelled (409), and can be removed when it has.',
  request: { params: taskParams, query: noQuery },
  responses: {
    204: { description: 'It is gone.' },
    ...problemResponses('not-found', 'task-leased', 'outcome-unknown'),
  },
});

export const actions = {
  cancel: action(
    'cancel',
    'Cancel a task',
    'What waits ends as cancelled at once. What is being dispatched does when its attempt ends, whatever comes of it; until then its state is `leased`. What has ended is left alone. Safe to repeat.',
    [],
  ),
  run: action(
    'run',
    'Run a task now',
    'A task that waits (for its time, its retry, its turn or its flow key) is dispatched next, whatever its queue’s rate, concurrency and pause. Should that attempt fail, the task waits for its retry as any other. Safe to repeat.',
    ['task-leased', 'task-finished'],
  ),
  retry: action(
    'retry',
    'Redrive a task that failed or was cancelled',
    'The same task is ready again, at the step where it ended, with all its attempts to come. It needs its name back, which another task may have taken.',
    ['task-live', 'task-finished', 'name-taken'],
  ),
};

export const listAttempts = createRoute({
  method: 'get',
  path: '/v1/tasks/{taskId}/attempts',
  operationId: 'listAttempts',
  tags,
  summary: 'List the attempts of a task, newest first',
  description: 'An attempt is listed once it has ended.',
  request: { params: taskParams, query: z.strictObject(pageQuery) },
  responses: {
    200: ok('A page of attempts.', pageSchema(attemptSchema)),
    ...problemResponses('not-found'),
  },
});

export const getOutput = createRoute({
  method: 'get',
  path: '/v1/tasks/{taskId}/output',
  operationId: 'getOutput',
  tags,
  summary: 'Download what the worker answered',
  description: `The body of the answer that ended the task, cut at ${LIMIT.outputBytes} bytes, with its content type; always as an attachment.`,
  request: { params: taskParams, query: noQuery },
  responses: {
    200: {
      description: 'The output.',
      content: { '*/*': { schema: z.any().openapi({ type: 'string', format: 'binary' }) } },
    },
    ...problemResponses('not-found'),
  },
});

type ActionProblem = 'task-leased' | 'task-finished' | 'task-live' | 'name-taken';

function action<Name extends string>(
  name: Name,
  summary: string,
  description: string,
  problems: ActionProblem[],
) {
  return createRoute({
    method: 'post',
    path: `/v1/tasks/{taskId}/${name}`,
    operationId: `${name}Task`,
    tags,
    summary,
    description,
    request: { params: taskParams, query: noQuery },
    responses: {
      200: ok('The task as it is now.', taskSchema),
      ...problemResponses('not-found', ...problems, 'outcome-unknown'),
    },
  });
}

function ok<Schema extends z.ZodType>(description: string, schema: Schema) {
  return { description, content: { 'application/json': { schema } } };
}
