import { createRoute, z } from '@hono/zod-openapi';
import { jsonBody } from './json-body.ts';
import { queueParams } from './schemas/common.ts';
import { pageQuery, pageSchema } from './schemas/page.ts';
import { BODY_PROBLEMS, problemResponses } from './schemas/problem.ts';
import { queueSchema, queueSettingsSchema, queueInFullSchema } from './schemas/queue.ts';

const tags = ['Queues'];
const noQuery = z.strictObject({});
const settingsBody = {
  required: true,
  content: { 'application/json': { schema: queueSettingsSchema } },
};

export const list = createRoute({
  method: 'get',
  path: '/v1/queues',
  operationId: 'listQueues',
  tags,
  summary: 'List the queues by name',
  request: { query: z.strictObject(pageQuery) },
  responses: { 200: ok('A page of queues.', pageSchema(queueSchema)), ...problemResponses() },
});

export const get = createRoute({
  method: 'get',
  path: '/v1/queues/{queue}',
  operationId: 'getQueue',
  tags,
  summary: 'Get a queue with its counts and status',
  request: { params: queueParams, query: noQuery },
  responses: {
    200: ok(
      'The queue, with approximate counts, and with what its dispatcher has to say of it.',
      queueInFullSchema,
    ),
    ...problemResponses('not-found'),
  },
});

export const put = createRoute({
  method: 'put',
  path: '/v1/queues/{queue}',
  operationId: 'putQueue',
  tags,
  summary: 'Create a queue, or replace its settings',
  description:
    'What is left out gets its default. A queue that exists keeps its tasks and its pause. Safe to repeat.',
  middleware: jsonBody(),
  request: { params: queueParams, query: noQuery, body: settingsBody },
  responses: {
    200: ok('Its settings were replaced.', queueSchema),
    201: ok('It was created.', queueSchema),
    ...problemResponses(...BODY_PROBLEMS, 'outcome-unknown'),
  },
});

export const patch = createRoute({
  method: 'patch',
  path: '/v1/queues/{queue}',
  operationId: 'patchQueue',
  tags,
  summary: 'Change some settings of a queue',
  description:
    'Objects are merged field by field (over null: over their defaults), but `target.headers` and `activeWindows` are replaced as a whole. What is left out stays. Limits are in force within a second; one below what is in flight only holds back new attempts. Safe to repeat.',
  middleware: jsonBody(),
  request: { params: queueParams, query: noQuery, body: settingsBody },
  responses: {
    200: ok('The queue as it is now.', queueSchema),
    ...problemResponses('not-found', ...BODY_PROBLEMS, 'outcome-unknown'),
  },
});

export const remove = createRoute({
  method: 'delete',
  path: '/v1/queues/{queue}',
  operationId: 'deleteQueue',
  tags,
  summary: 'Delete a queue',
  description:
    'A queue with tasks that have not ended is only deleted with `force=true`: they are thrown away, and what is being dispatched ends with its attempt. The name is free at once.',
  request: {
    params: queueParams,
    query: z.strictObject({
      force: z.enum(['true', 'false']).optional().openapi({ type: 'boolean', default: false }),
    }),
  },
  responses: {
    204: { description: 'It is gone.' },
    ...problemResponses('not-found', 'queue-not-empty', 'outcome-unknown'),
  },
});

export const actions = {
  pause: action(
    'pause',
    'Pause a queue',
    'No attempt is started until it is resumed; what is being dispatched goes on, and tasks can be enqueued. Safe to repeat.',
  ),
  resume: action('resume', 'Resume a paused queue', 'Safe to repeat.'),
  purge: action(
    'purge',
    'Throw away the tasks of a queue',
    'Every task that is scheduled or ready is gone at once; what is being dispatched ends with its attempt. Tasks that have ended stay.',
  ),
};

function action<Name extends string>(name: Name, summary: string, description: string) {
  return createRoute({
    method: 'post',
    path: `/v1/queues/{queue}/${name}`,
    operationId: `${name}Queue`,
    tags,
    summary,
    description,
    request: { params: queueParams, query: noQuery },
    responses: {
      200: ok('The queue as it is now.', queueSchema),
      ...problemResponses('not-found', 'outcome-unknown'),
    },
  });
}

function ok<Schema extends z.ZodType>(description: string, schema: Schema) {
  return { description, content: { 'application/json': { schema } } };
}
