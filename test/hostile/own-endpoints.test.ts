import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest';
import { killHard, type Service, startService } from '../e2e/service.ts';
import { createTestDatabase, type TestDatabase } from '../support/database.ts';
import { startTarget, type Target } from '../support/target.ts';

let database: TestDatabase;
let service: Service;
let worker: Target;

beforeAll(async () => {
  database = await createTestDatabase();
  service = await startService(database.url);
});

afterEach(() => worker?.close());

afterAll(async () => {
  await killHard(service);
  await database.drop();
});

const ports = () => ({
  'its own API': new URL(service.url).port,
  'its database': new URL(database.url).port,
});

describe('errand serve with loopback allowed', () => {
  test.each(['its own API', 'its database'] as const)('takes no task for %s', async (which) => {
    const port = ports()[which];
    for (const host of ['127.0.0.1', 'localhost', '2130706433', '[::1]', '127.0.0.2']) {
      const url = `http://${host}:${port}/v1/queues`;
      await expect(service.client.enqueue('default', { url })).rejects.toMatchObject({
        code: 'invalid-request',
      });
    }
  });

  test.each(['its own API', 'its database'] as const)(
    'calls %s for no continuation',
    async (which) => {
      const url = `http://127.0.0.1:${ports()[which]}/v1/queues`;
      worker = await startTarget((_, response) => {
        response.writeHead(200, { 'errand-outcome': 'continue' });
        response.end(JSON.stringify({ payload: '', url }));
      });
      const retry = { maxAttempts: 1 };
      const { id } = await service.client.enqueue('default', { url: worker.url, retry });
      expect(await service.client.waitFor(id)).toMatchObject({ state: 'failed' });
      const { items } = await service.client.attempts(id);
      expect(items).toContainEqual(
        expect.objectContaining({
          outcome: 'blocked',
          error: expect.stringContaining('127.0.0.1: Errand or its database listens there'),
        }),
      );
    },
  );

  test('calls what else is there', async () => {
    worker = await startTarget();
    const { id } = await service.client.enqueue('default', { url: worker.url });
    expect(await service.client.waitFor(id)).toMatchObject({ state: 'succeeded' });
  });
});
