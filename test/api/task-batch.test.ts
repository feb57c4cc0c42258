import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { type ApiFixture, createApiFixture, expectProblem } from './api-fixture.ts';

const PATH = '/v1/queues/default/tasks/batch';
const url = 'https://worker.example/';
let fixture: ApiFixture;

beforeAll(async () => {
  fixture = await createApiFixture();
});
afterAll(() => fixture.close());

const send = (tasks: unknown, key?: string) =>
  fixture.call('POST', PATH, {
    body: { tasks },
    headers: key === undefined ? {} : { 'idempotency-key': key },
  });
const statuses = (answer: { body: { items: { status: number }[] } }) =>
  answer.body.items.map((item) => item.status);

describe('POST /v1/queues/{queue}/tasks/batch', () => {
  it('creates 1,000 tasks in their order', async () => {
    fixture.wakeUps.length = 0;
    const tasks = Array.from({ length: 1000 }, (_, i) => ({ url: `${url}${i}`, payload: '{}' }));
    const answer = await send(tasks);
    expect(new Set(statuses(answer))).toEqual(new Set([201]));
    const rows = await fixture.sql`
      select t.url from errand.ready r join errand.task t on t.id = r.task order by r.seq`;
    expect(rows.map((row) => row.url)).toEqual(tasks.map((task) => task.url));
    expect(fixture.wakeUps).toHaveLength(1000);
  });

  it('answers each task as a later GET does', async () => {
    const { body } = await send([
      { url, name: 'one' },
      { url, delaySeconds: 5 },
    ]);
    for (const { task } of body.items) {
      expect((await fixture.call('GET', `/v1/tasks/${task.id}`)).body).toEqual(task);
    }
  });

  it('lets a bad task fail alone', async () => {
    const tasks = [{ url, name: 'a-1' }, { url: 'nope' }, 17, { url, name: 'a-1' }, { url }];
    const answer = await send(tasks);
    expect(statuses(answer)).toEqual([201, 400, 400, 409, 201]);
    const [first, , , fourth] = answer.body.items;
    expect(fourth.problem).toMatchObject({ code: 'name-taken', taskId: first.task.id });
  });

  it('gives a name that comes often to the first', async () => {
    const answer = await send(Array.from({ length: 1000 }, () => ({ url, name: 'often' })));
    expect(statuses(answer)).toEqual([201, ...Array.from({ length: 999 }, () => 409)]);
    const ids = answer.body.items.map(
      (item: { task?: { id: string }; problem?: { taskId: string } }) =>
        item.task?.id ?? item.problem?.taskId,
    );
    expect(new Set(ids).size).toBe(1);
  });

  it('is safe to repeat with an Idempotency-Key', async () => {
    const tasks = [{ url, name: 'r-1' }, { url }, { url, name: 'r-1' }, { url: 'nope' }];
    const first = await send(tasks, 'batch 1');
    expect(statuses(first)).toEqual([201, 201, 409, 400]);
    const second = await send(tasks, 'batch 1');
    expect(statuses(second)).toEqual([200, 200, 409, 400]);
    expect(second.body.items[0].task).toEqual(first.body.items[0].task);
    const third = await send([{ url, name: 'other' }, { url }], 'batch 1');
    expect(statuses(third)).toEqual([422, 200]);
  });

  it('fails only the task whose name an open transaction holds', async () => {
    const { sql } = fixture;
    await sql`begin`;
    await sql`insert into errand.task_name (shard, queue, name, task)
      values (0, 1, 'open', gen_random_uuid())`;
    const answer = await send([{ url, name: 'b-1' }, { url, name: 'open' }, { url }]);
    await sql`rollback`;
    expect(statuses(answer)).toEqual([201, 503, 201]);
  });

  it('takes an empty batch, and refuses one that is too long or has no tasks', async () => {
    expect((await send([])).body).toEqual({ items: [] });
    const tooMany = Array.from({ length: 1001 }, () => ({ url }));
    for (const tasks of [tooMany, undefined, 'x']) {
      const { errors } = expectProblem(await send(tasks), 'invalid-request');
      expect(errors[0].pointer).toBe('/tasks');
    }
    const path = '/v1/queues/none/tasks/batch';
    expectProblem(await fixture.call('POST', path, { body: { tasks: [] } }), 'not-found');
  });

  it('takes 8 MiB and no more', async () => {
    const payload = 'x'.repeat(1_000_000);
    const answer = await send(Array.from({ length: 8 }, () => ({ url, payload })));
    expect(new Set(statuses(answer))).toEqual(new Set([201]));
    const larger = await send(Array.from({ length: 9 }, () => ({ url, payload })));
    expectProblem(larger, 'body-too-large');
  });
});
