import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { createTargetGuard } from '../../src/dispatch/guard.ts';
import { type ApiFixture, createApiFixture, expectProblem } from './api-fixture.ts';

let fixture: ApiFixture;

beforeAll(async () => {
  const guard = createTargetGuard({
    allow: ['loopback', 'http'],
    refusedEndpoints: [{ host: '127.0.0.1', port: 8484 }],
  });
  fixture = await createApiFixture({
    targetRefusal: (url, pool) => (pool === 'default' ? guard.refusal(url) : null),
  });
  await fixture.call('PUT', '/v1/queues/elsewhere', { body: { pool: 'on-premises' } });
});

afterAll(() => fixture.close());

const enqueue = (body: object, queue = 'default') =>
  fixture.call('POST', `/v1/queues/${queue}/tasks`, { body });

describe('a task for a target that may not be called', () => {
  test.each([
    ['http://10.0.0.1/', '10.0.0.1: not a public address, nor on ERRAND_TARGET_ALLOW'],
    ['http://0xa9fea9fe/latest/', '169.254.169.254: not a public address'],
    ['https://[fd00:ec2::254]/', '[fd00:ec2::254]: not a public address'],
    ['https://metadata.google.internal/', 'metadata.google.internal: not a public address'],
    ['https://1.1.1.1:25/', '1.1.1.1: port 25 is for other protocols'],
    ['http://127.0.0.1:8484/v1/queues', '127.0.0.1: Errand or its database listens there'],
    ['http://localhost:8484/v1/queues', 'localhost: Errand or its database listens there'],
  ])('%s is refused, and the field is named', async (url, reason) => {
    const answer = await enqueue({ url });
    const { errors } = expectProblem(answer, 'invalid-request');
    expect(errors).toMatchObject([{ pointer: '/url', expected: expect.stringContaining(reason) }]);
  });

  test('is refused in a batch beside one that is taken', async () => {
    const tasks = [{ url: 'http://10.0.0.1/' }, { url: 'http://127.0.0.1:3000/' }];
    const answer = await fixture.call('POST', '/v1/queues/default/tasks/batch', {
      body: { tasks },
    });
    expect(answer.body.items).toMatchObject([
      { status: 400, problem: { errors: [{ pointer: '/tasks/0/url' }] } },
      { status: 201 },
    ]);
  });

  test('is taken by a queue of another pool, whose dispatchers have rules of their own', async () => {
    expect((await enqueue({ url: 'http://10.0.0.1/' }, 'elsewhere')).status).toBe(201);
  });

  test('is taken where only a lookup can tell', async () => {
    expect((await enqueue({ url: 'https://private.example/' })).status).toBe(201);
  });

  test('is not made by a queue’s base URL either', async () => {
    const target = { baseUrl: 'http://192.168.1.1/' };
    const answer = await fixture.call('PUT', '/v1/queues/based', { body: { target } });
    const { errors } = expectProblem(answer, 'invalid-request');
    expect(errors).toMatchObject([
      { pointer: '/target/baseUrl', received: '"http://192.168.1.1/"' },
    ]);
    const pool = 'on-premises';
    const there = await fixture.call('PUT', '/v1/queues/based', { body: { target, pool } });
    expect(there.status).toBe(201);
  });
});
