import { createRoute, z } from '@hono/zod-openapi';
import type { ApiParts } from './parts.ts';
import { createRouter, type Router } from './router.ts';

const healthz = createRoute({
  method: 'get',
  path: '/healthz',
  operationId: 'getHealth',
  tags: ['Operations'],
  summary: 'Whether the process runs',
  security: [],
  responses: {
    200: {
      description: 'It runs. Says nothing about the database.',
      content: { 'application/json': { schema: z.object({ status: z.literal('ok') }) } },
    },
  },
});

const readiness = z.object({ ready: z.boolean(), reason: z.string().optional() });

const readyz = createRoute({
  method: 'get',
  path: '/readyz',
  operationId: 'getReadiness',
  tags: ['Operations'],
  summary: 'Whether requests can be served now',
  security: [],
  responses: {
    200: { description: 'Ready.', content: { 'application/json': { schema: readiness } } },
    503: {
      description: 'Not ready: starting, draining, or the database is away.',
      content: { 'application/json': { schema: readiness } },
    },
  },
});

/** For whoever watches the process; none of it needs a key. */
export function healthRoutes(parts: ApiParts): Router {
  const router = createRouter();
  router.openapi(healthz, (c) => {
    c.header('cache-control', 'no-store');
    return c.json({ status: 'ok' as const }, 200);
  });
  router.openapi(readyz, async (c) => {
    const { ready, reason } = await parts.isReady();
    c.header('cache-control', 'no-store');
    return c.json({ ready, reason }, ready ? 200 : 503);
  });
  return router;
}
