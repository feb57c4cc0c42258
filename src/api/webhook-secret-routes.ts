import { randomBytes } from 'node:crypto';
import { createRoute, z } from '@hono/zod-openapi';
import {
  addWebhookSecret,
  listWebhookSecrets,
  MAX_WEBHOOK_SECRETS,
  removeWebhookSecret,
  webhookSecretContext,
} from '../store/webhook-secret.ts';
import type { RouteParts } from './parts.ts';
import { ProblemError } from './problem.ts';
import { notFound } from './queue-routes.ts';
import { createRouter, type Router } from './router.ts';
import { createdWebhookSecretSchema, webhookSecretSchema } from './schemas/access.ts';
import { queueParams } from './schemas/common.ts';
import { problemResponses } from './schemas/problem.ts';

const tags = ['Keys'];
const path = '/v1/queues/{queue}/webhook-secrets';
const noQuery = z.strictObject({});

const list = createRoute({
  method: 'get',
  path,
  operationId: 'listWebhookSecrets',
  tags,
  summary: 'List the webhook secrets of a queue, without the secrets',
  request: { params: queueParams, query: noQuery },
  responses: {
    200: {
      description: 'The secrets that its tasks are signed with, the oldest first.',
      content: {
        'application/json': {
          schema: z.object({ items: z.array(webhookSecretSchema), nextCursor: z.null() }),
        },
      },
    },
    ...problemResponses('not-found'),
  },
});

const create = createRoute({
  method: 'post',
  path,
  operationId: 'createWebhookSecret',
  tags,
  summary: 'Sign the tasks of a queue as Standard Webhooks',
  description:
    'Makes a secret and shows it, this once. From now on the queue’s attempts carry `webhook-id`, `webhook-timestamp` and `webhook-signature`, besides their token. A second secret signs beside the first (the signatures stand in one header, a blank between them), so that workers can change over; then delete the first. Not safe to repeat.',
  request: { params: queueParams, query: noQuery },
  responses: {
    201: {
      description: 'The secret.',
      content: { 'application/json': { schema: createdWebhookSecretSchema } },
    },
    ...problemResponses('not-found', 'too-many-secrets', 'outcome-unknown'),
  },
});

const remove = createRoute({
  method: 'delete',
  path: `${path}/{secretId}`,
  operationId: 'deleteWebhookSecret',
  tags,
  summary: 'Stop signing with a webhook secret',
  request: {
    params: queueParams.extend({
      secretId: z
        .string()
        .regex(/^[0-9a-f]{16}$/)
        .openapi({ param: { name: 'secretId', in: 'path' }, example: '0123456789abcdef' }),
    }),
    query: noQuery,
  },
  responses: {
    204: { description: 'It signs no more.' },
    ...problemResponses('not-found', 'outcome-unknown'),
  },
});

export function webhookSecretRoutes(parts: RouteParts): Router {
  const { database, queueCache, vault } = parts;
  const router = createRouter();

  router.openapi(list, async (c) => {
    const { queue } = c.req.valid('param');
    const found = await database.run((sql) => listWebhookSecrets(sql, c.var.project, queue));
    const items = (found ?? notFound(queue)).map(({ id, createdAt }) => ({
      id,
      createdAt: new Date(createdAt).toISOString(),
    }));
    return c.json({ items, nextCursor: null }, 200);
  });

  router.openapi(create, async (c) => {
    const { queue } = c.req.valid('param');
    const { project } = c.var;
    const id = randomBytes(8).toString('hex');
    const secret = `whsec_${randomBytes(32).toString('base64')}`;
    const sealed = vault.seal(secret, webhookSecretContext(id));
    const added = await database.run((sql) =>
      addWebhookSecret(sql, { project, queue, id, secret: sealed }),
    );
    if (added.kind === 'not-found') notFound(queue);
    if (added.kind === 'too-many') throw tooMany(queue);
    queueCache.forget(project, queue);
    c.header('cache-control', 'no-store');
    return c.json({ id, secret, createdAt: added.createdAt.toISOString() }, 201);
  });

  router.openapi(remove, async (c) => {
    const { queue, secretId: id } = c.req.valid('param');
    const { project } = c.var;
    const isGone = await database.run((sql) => removeWebhookSecret(sql, { project, queue, id }));
    if (!isGone) {
      throw new ProblemError('not-found', `Queue "${queue}" has no webhook secret ${id}`);
    }
    queueCache.forget(project, queue);
    return c.body(null, 204);
  });

  return router;
}

function tooMany(queue: string): ProblemError {
  return new ProblemError(
    'too-many-secrets',
    `Queue "${queue}" has ${MAX_WEBHOOK_SECRETS} webhook secrets, which is the most; delete the one that workers no longer check`,
  );
}
