import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { createBacklog } from '../../src/api/backlog.ts';
import { findQueue } from '../../src/store/queue.ts';
import { newTask } from '../support/new-task.ts';
import { type ApiFixture, createApiFixture, expectProblem } from './api-fixture.ts';

let fixture: ApiFixture;
let call: ApiFixture['call'];

beforeAll(async () => {
  fixture = await createApiFixture();
  ({ call } = fixture);
});
afterAll(() => fixture.close());

const task = { url: 'https://worker.example/', delaySeconds: 600 };

async function makeQueue(name: string, maxBacklog: number | null) {
  await call('PUT', `/v1/queues/${name}`, { body: { maxBacklog } });
  return (await findQueue(fixture.sql, 'default', name))!;
}

describe('A queue with maxBacklog', () => {
  it('answers 429 queue-full with Retry-After once that many wait, scheduled or ready', async () => {
    await makeQueue('full', 2);
    const path = '/v1/queues/full/tasks';
    expect((await call('POST', path, { body: task })).status).toBe(201);
    expect((await call('POST', path, { body: { url: task.url } })).status).toBe(201);
    const answer = await call('POST', path, { body: task });
    expectProblem(answer, 'queue-full');
    expect(answer.headers.get('retry-after')).toBe('1');
    await call('PATCH', '/v1/queues/full', { body: { maxBacklog: 3 } });
    expect((await call('POST', path, { body: task })).status).toBe(201);
  });

  it('takes the first of a batch for which there is room, and answers 429 for the others', async () => {
    await makeQueue('full-batch', 3);
    const tasks = [task, { url: 'bad' }, task, task, task];
    const { body } = await call('POST', '/v1/queues/full-batch/tasks/batch', { body: { tasks } });
    const statuses = body.items.map((item: { status: number }) => item.status);
    expect(statuses).toEqual([201, 400, 201, 201, 429]);
    const problem = { code: 'queue-full', status: 429, retryAfterSeconds: 1 };
    expect(body.items[4].problem).toMatchObject(problem);
  });

  it('answers the repeat of an Idempotency-Key with its first task, however full it is', async () => {
    await makeQueue('full-repeated', 1);
    const path = '/v1/queues/full-repeated/tasks';
    const post = (key: string, body: object = task) =>
      call('POST', path, { body, headers: { 'idempotency-key': key } });
    const first = await post('payment-1');
    expect(first.status).toBe(201);
    const again = await post('payment-1');
    expect([again.status, again.body.id]).toEqual([200, first.body.id]);
    expectProblem(await post('payment-1', { url: task.url }), 'idempotency-mismatch');
    const refused = await post('payment-2');
    expectProblem(refused, 'queue-full');
    expect(refused.body.retryAfterSeconds).toBe(1);
  });

  it('takes no room for the repeats in a batch', async () => {
    await makeQueue('full-batch-repeated', 3);
    const post = (count: number) =>
      call('POST', '/v1/queues/full-batch-repeated/tasks/batch', {
        body: { tasks: Array.from({ length: count }, () => task) },
        headers: { 'idempotency-key': 'batch' },
      });
    const first = (await post(2)).body.items;
    const again = (await post(4)).body.items;
    const statuses = again.map(({ status }: { status: number }) => status);
    expect(statuses).toEqual([200, 200, 201, 429]);
    expect(again[1].task.id).toBe(first[1].task.id);
  });

  it('leaves room for another when a name was taken', async () => {
    await makeQueue('named', 2);
    const named = { ...task, name: 'once' };
    const post = (body: object) => call('POST', '/v1/queues/named/tasks', { body });
    expect((await post(named)).status).toBe(201);
    expectProblem(await post(named), 'name-taken');
    expect((await post(task)).status).toBe(201);
    expectProblem(await post(task), 'queue-full');
  });

  it('never admits more than that of many at once', async () => {
    await makeQueue('crowded', 5);
    const answers = await Promise.all(
      Array.from({ length: 20 }, () => call('POST', '/v1/queues/crowded/tasks', { body: task })),
    );
    const counts = [201, 429].map((code) => answers.filter(({ status }) => status === code).length);
    expect(counts).toEqual([5, 15]);
  });
});

describe('createBacklog()', () => {
  it('counts anew after a second, and not before', async () => {
    const queue = await makeQueue('recounted', 1);
    let nowMs = 0;
    const backlog = createBacklog(fixture.database, () => nowMs);
    const places = async () => (await backlog.admit(queue, [newTask()])).accepted.length;
    expect(await places()).toBe(1);
    nowMs = 999;
    expect(await places()).toBe(0);
    nowMs = 1000;
    expect(await places()).toBe(1);
  });

  it('never asks the database for a queue without the limit', async () => {
    const queue = await makeQueue('unlimited', null);
    const database = {
      run: () => Promise.reject(new Error('asked')),
      close: () => Promise.resolve(),
    };
    const tasks = Array.from({ length: 7 }, () => newTask());
    expect((await createBacklog(database).admit(queue, tasks)).accepted).toEqual(tasks);
  });
});
