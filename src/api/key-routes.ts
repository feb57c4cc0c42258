import { createRoute, z } from '@hono/zod-openapi';
import type { ApiKeyInfo } from '../protocol/access.ts';
import { type ApiKey, insertApiKey, listApiKeys, revokeApiKey } from '../store/api-key.ts';
import { newApiKey } from './api-key.ts';
import { jsonBody } from './json-body.ts';
import type { RouteParts } from './parts.ts';
import { ProblemError } from './problem.ts';
import { createRouter, type Router } from './router.ts';
import { createdKeySchema, createKeySchema, keyParams, keySchema } from './schemas/access.ts';
import { BODY_PROBLEMS, problemResponses } from './schemas/problem.ts';

const tags = ['Keys'];
const noQuery = z.strictObject({});

const list = createRoute({
  method: 'get',
  path: '/v1/keys',
  operationId: 'listKeys',
  tags,
  summary: 'List the API keys, revoked ones too, newest first',
  request: { query: noQuery },
  responses: {
    200: {
      description: 'The keys, without their secrets.',
      content: {
        'application/json': {
          schema: z.object({ items: z.array(keySchema), nextCursor: z.null() }),
        },
      },
    },
    ...problemResponses(),
  },
});

const create = createRoute({
  method: 'post',
  path: '/v1/keys',
  operationId: 'createKey',
  tags,
  summary: 'Make an API key',
  description: 'Not safe to repeat: a repeat makes another key.',
  middleware: jsonBody(),
  request: {
    query: noQuery,
    body: { required: true, content: { 'application/json': { schema: createKeySchema } } },
  },
  responses: {
    201: {
      description: 'The key, which is shown this once.',
      content: { 'application/json': { schema: createdKeySchema } },
    },
    ...problemResponses(...BODY_PROBLEMS, 'outcome-unknown'),
  },
});

const revoke = createRoute({
  method: 'delete',
  path: '/v1/keys/{keyId}',
  operationId: 'revokeKey',
  tags,
  summary: 'Revoke an API key',
  description:
    'Refused by this process from the answer on, by every other at most a second later (and one read of the database). It stays in the list. Safe to repeat.',
  request: { params: keyParams, query: noQuery },
  responses: {
    204: { description: 'It is revoked.' },
    ...problemResponses('not-found', 'outcome-unknown'),
  },
});

export function keyRoutes({ database, keys }: RouteParts): Router {
  const router = createRouter();

  router.openapi(list, async (c) => {
    const found = await database.run((sql) => listApiKeys(sql, c.var.project));
    return c.json({ items: found.map(keyResource), nextCursor: null }, 200);
  });

  router.openapi(create, async (c) => {
    const { label = '', ...limits } = c.req.valid('json');
    const { id, key, secretHash } = newApiKey();
    const { project } = c.var;
    const made = await database.run((sql) =>
      insertApiKey(sql, { id, project, label, secretHash, ...limits }),
    );
    c.header('cache-control', 'no-store');
    return c.json({ ...keyResource(made), key }, 201);
  });

  router.openapi(revoke, async (c) => {
    const { keyId } = c.req.valid('param');
    const isThere = await database.run((sql) => revokeApiKey(sql, c.var.project, keyId));
    if (!isThere) throw new ProblemError('not-found', `There is no API key ${keyId}`);
    keys.forget(keyId);
    return c.body(null, 204);
  });

  return router;
}

function keyResource(key: ApiKey): ApiKeyInfo {
  return {
    id: key.id,
    label: key.label,
    scopes: key.scopes,
    queues: key.queues,
    createdAt: key.createdAt.toISOString(),
    expiresAt: key.expiresAt?.toISOString() ?? null,
    lastUsedAt: key.lastUsedAt?.toISOString() ?? null,
    revokedAt: key.revokedAt?.toISOString() ?? null,
  };
}
