import { createRoute, z } from '@hono/zod-openapi';
import type { DispatcherInfo } from '../protocol/resources.ts';
import { type DispatcherRecord, listDispatchers } from '../store/ownership-list.ts';
import type { RouteParts } from './parts.ts';
import { createRouter, type Router } from './router.ts';
import { problemResponses } from './schemas/problem.ts';

const dispatcherSchema = z
  .object({
    id: z.int(),
    pool: z.string(),
    host: z.string(),
    pid: z.int(),
    startedAt: z.iso.datetime(),
    seenAt: z.iso
      .datetime()
      .openapi({ description: 'Its last heartbeat, by the database’s clock.' }),
    shards: z.array(z.int()).openapi({ description: 'Slices of its pool’s queues: 0 to 63.' }),
  } satisfies Record<keyof DispatcherInfo, z.ZodType>)
  .openapi('Dispatcher', {
    example: {
      id: 7,
      pool: 'default',
      host: 'box-1',
      pid: 4711,
      startedAt: '2026-01-02T03:04:05.678Z',
      seenAt: '2026-01-02T03:04:05.678Z',
      shards: [0, 2, 4],
    },
  });

const list = createRoute({
  method: 'get',
  path: '/v1/dispatchers',
  operationId: 'listDispatchers',
  tags: ['Operations'],
  summary: 'List the dispatchers and what each owns',
  description:
    'All of them, for they serve every project. One that has died is listed until another takes its shards over.',
  request: { query: z.strictObject({}) },
  responses: {
    200: {
      description: 'The dispatchers, by pool and id.',
      content: {
        'application/json': {
          schema: z.object({ items: z.array(dispatcherSchema), nextCursor: z.null() }),
        },
      },
    },
    ...problemResponses(),
  },
});

export function dispatcherRoutes({ database }: RouteParts): Router {
  const router = createRouter();
  router.openapi(list, async (c) => {
    const items = await database.run(listDispatchers);
    return c.json({ items: items.map(dispatcherResource), nextCursor: null }, 200);
  });
  return router;
}

function dispatcherResource(record: DispatcherRecord): DispatcherInfo {
  const { isLive: _, ...dispatcher } = record;
  return {
    ...dispatcher,
    startedAt: record.startedAt.toISOString(),
    seenAt: record.seenAt.toISOString(),
  };
}
