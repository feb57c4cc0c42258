import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { type Network, startNetwork } from '../chaos/network.ts';
import { createTestDatabase, type TestDatabase } from '../support/database.ts';
import { startTarget, type Target } from '../support/target.ts';
import { until } from '../support/until.ts';
import { ADMIN_KEY, killHard, type Service, startService } from './service.ts';

let database: TestDatabase;
let network: Network;
let target: Target;
let service: Service;

beforeAll(async () => {
  database = await createTestDatabase();
  network = await startNetwork(database.url);
  target = await startTarget();
  service = await startService(network.url, { ERRAND_TAKEOVER_SECONDS: '2' });
});

afterAll(async () => {
  await killHard(service);
  await target.close();
  await network.close();
  await database.drop();
});

async function ask(method: string, path: string, body?: unknown) {
  const response = await fetch(`${service.url}/v1/${path}`, {
    method,
    headers: { authorization: `Bearer ${ADMIN_KEY}`, 'content-type': 'application/json' },
    ...(body === undefined ? {} : { body: JSON.stringify(body) }),
  });
  const { code } = (await response.json()) as { code?: string };
  return { status: response.status, code };
}

/** Requests of every kind, far more than there are connections. */
function askForEverything() {
  const task = { url: target.url, payload: 'x' };
  // Bytes for several statements, one after the other.
  const heavy = Array.from({ length: 4 }, () => ({ ...task, payload: 'x'.repeat(700_000) }));
  return [
    ...Array.from({ length: 100 }, () => ask('POST', 'queues/default/tasks', task)),
    ...Array.from({ length: 100 }, (_, n) =>
      ask('POST', 'queues/default/tasks', { ...task, name: `name-${n}` }),
    ),
    ...Array.from({ length: 3 }, () => ask('POST', 'queues/default/tasks/batch', { tasks: heavy })),
    ask('GET', 'queues/default'),
    ask('GET', 'tasks?queue=default'),
    ask('PATCH', 'queues/default', { weight: 2 }),
    ask('POST', 'queues/default/pause'),
  ];
}

describe('promise 7: a database that nothing comes back from', () => {
  test('every request is answered 503, and all goes on afterwards', async () => {
    // What the API remembers of caller and queue is fresh then: an enqueue comes as far as its statement.
    expect((await ask('POST', 'queues/default/tasks', { url: target.url })).status).toBe(201);
    network.change('black-hole');
    const answers = await Promise.all(askForEverything());
    network.change('clear');
    for (const { status, code } of answers) {
      expect(status).toBe(503);
      expect(code).toMatch(/^(database-unavailable|outcome-unknown|overloaded)$/);
    }
    await until(async () => (await ask('POST', 'queues/default/resume')).status === 200);
    const { id } = await service.client.enqueue('default', { url: target.url });
    expect(await service.client.waitFor(id)).toMatchObject({ state: 'succeeded' });
  });
});
