import { once } from 'node:events';
import { connect, type Socket } from 'node:net';
import postgres, { type Sql } from 'postgres';
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest';
import { createTestDatabase, type TestDatabase } from '../support/database.ts';
import { startTarget, type Target } from '../support/target.ts';
import { until } from '../support/until.ts';
import { ADMIN_KEY, killHard, type Service, startService } from './service.ts';

/** As many as a process lets be in flight; see src/load-shedding.ts. */
const MOST_IN_FLIGHT = 2_000;
const TASKS = 300;

let database: TestDatabase;
let sql: Sql;
let service: Service;
let target: Target;
const sockets = new Set<Socket>();

beforeAll(async () => {
  database = await createTestDatabase();
  sql = postgres(database.url, { max: 1, onnotice: () => {} });
  target = await startTarget();
  service = await startService(database.url);
});
afterEach(() => {
  hangUp();
});
afterAll(async () => {
  await killHard(service);
  await target.close();
  await sql.end();
  await database.drop();
});

/** An enqueue whose body never comes to its end. `body`: its length, and as much of it as comes. */
async function beginUpload(body = 'content-length: 100\r\n\r\n{"url":'): Promise<void> {
  const { hostname, port, host } = new URL(service.url);
  const socket = connect(Number(port), hostname);
  sockets.add(socket);
  // One that is answered was refused, and is not in flight any more.
  for (const end of ['data', 'error']) socket.on(end, () => socket.destroy());
  socket.on('close', () => sockets.delete(socket));
  await once(socket, 'connect');
  socket.write(
    `POST /v1/queues/default/tasks HTTP/1.1\r\nhost: ${host}\r\nauthorization: Bearer ${ADMIN_KEY}\r\n` +
      `content-type: application/json\r\n${body}`,
  );
}

async function fillUp(): Promise<void> {
  while (sockets.size < MOST_IN_FLIGHT) {
    const missing = Math.min(100, MOST_IN_FLIGHT - sockets.size);
    await Promise.all(Array.from({ length: missing }, () => beginUpload()));
  }
}

function hangUp(): void {
  for (const socket of sockets) socket.destroy();
}

function get(path: string): Promise<Response> {
  return fetch(service.url + path, { headers: { authorization: `Bearer ${ADMIN_KEY}` } });
}

describe('an API with all the requests in flight that it may have', () => {
  test('sheds with Retry-After, while what was enqueued is dispatched and settled', async () => {
    const gate = Promise.withResolvers<void>();
    target.answer = (_, response) => gate.promise.then(() => void response.end());
    const tasks = Array.from({ length: TASKS }, () => ({ url: target.url }));
    await service.client.enqueueBatch('default', tasks);
    await target.arrived(1);
    const refused = await until(async () => {
      await fillUp();
      const answer = await get('/v1/queues');
      const isFull = (await answer.clone().text()).includes('2000 requests are in flight');
      return isFull ? answer : null;
    });
    expect(refused.status).toBe(503);
    expect(refused.headers.get('retry-after')).toBe('1');
    expect(await refused.json()).toMatchObject({ code: 'overloaded' });
    expect((await get('/healthz')).status).toBe(200);
    expect((await get('/readyz')).status).toBe(200);
    expect((await get('/.well-known/jwks.json')).status).toBe(200);

    gate.resolve();
    await until(async () => {
      const [row] =
        await sql`select count(*)::int as n from errand.finished where state = 'succeeded'`;
      return row!.n === TASKS;
    });
    expect((await get('/v1/queues')).status).toBe(503);
    hangUp();
    await until(async () => (await get('/v1/queues')).status === 200);
    expect(bugs()).toEqual([]);
  });
});

describe('a client that goes away in the middle of its body', () => {
  test.each([
    ['of a known length', 'content-length: 100\r\n\r\n{"url":'],
    ['in chunks', 'transfer-encoding: chunked\r\n\r\n7\r\n{"url":\r\n'],
  ])('%s is no error of ours', async (_, body) => {
    await Promise.all(Array.from({ length: 5 }, () => beginUpload(body)));
    expect((await get('/v1/queues')).status).toBe(200);
    hangUp();
    // What is logged about them is logged before what is asked after them is answered.
    await until(async () => (await get('/v1/queues')).status === 200);
    await service.client.enqueue('default', { url: target.url });
    expect(bugs()).toEqual([]);
  });
});

function bugs(): string[] {
  return service.process.stdout().match(/.*A request failed.*/g) ?? [];
}
