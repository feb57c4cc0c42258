import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { TASK_ID_PATTERN } from '../../src/protocol/limits.ts';
import { verifyRooms } from '../../src/store/verify.ts';
import { type ApiFixture, createApiFixture, expectProblem } from './api-fixture.ts';

const PATH = '/v1/queues/default/tasks';
const URL = 'https://worker.example/tasks/email';
let fixture: ApiFixture;

beforeAll(async () => {
  fixture = await createApiFixture();
});
afterAll(async () => {
  expect((await verifyRooms(fixture.sql)).problems).toEqual([]);
  expect(fixture.logged).toEqual([]);
  await fixture.close();
});

const create = (body: object, key?: string, path = PATH) =>
  fixture.call('POST', path, {
    body,
    headers: key === undefined ? {} : { 'idempotency-key': key },
  });
const get = (id: string, view = '') => fixture.call('GET', `/v1/tasks/${id}${view}`);

describe('POST /v1/queues/{queue}/tasks', () => {
  it('answers 201 with the path of the task, and wakes the owner of its shard', async () => {
    fixture.wakeUps.length = 0;
    const answer = await create({ url: URL, payload: '{"to":"a"}', priority: 3 });
    expect(answer.status).toBe(201);
    expect(answer.body.id).toMatch(TASK_ID_PATTERN);
    expect(answer.headers.get('location')).toBe(`/v1/tasks/${answer.body.id}`);
    const [row] = await fixture.sql`select seq from errand.ready where task = ${answer.body.id}`;
    expect(fixture.wakeUps).toEqual([
      { shard: 0, queue: 1, rank: -3, seq: row!.seq, dueInSeconds: 0 },
    ]);
  });

  it('fills in the defaults', async () => {
    const { body } = await create({ url: URL });
    expect(body).toEqual({
      id: body.id,
      queue: 'default',
      name: null,
      state: 'ready',
      url: URL,
      method: 'POST',
      headers: {},
      contentType: null,
      priority: 0,
      flowKey: null,
      retry: {},
      dispatchDeadlineSeconds: null,
      retentionSeconds: null,
      owner: null,
      labels: {},
      step: 0,
      attempts: 0,
      progress: null,
      createdAt: body.createdAt,
      scheduledAt: body.createdAt,
      expireTime: null,
      startedAt: null,
      finishedAt: null,
      lastStatus: null,
      reason: null,
    });
  });

  it.each([
    { url: URL },
    { url: 'http://h', payload: 'a', method: 'PUT', priority: -1000, delaySeconds: 12.345 },
    {
      url: `${URL}?a=%20ü&b#fragment`,
      payloadBase64: 'AAD/',
      contentType: 'image/png; q="a b"',
      headers: { 'X-A': 'é', authorization: 'Basic xyz' },
      name: 'full-1',
      scheduleTime: '2026-11-01T01:02:03.456789+02:00',
      expireTime: '2030-01-02T03:04:05Z',
      priority: 1000,
      flowKey: 'k',
      retry: { maxAttempts: -1, minBackoffSeconds: 0.1, maxRetryDurationSeconds: null },
      dispatchDeadlineSeconds: 1.23456,
      retentionSeconds: 0.25,
      owner: 'ann ü',
      labels: { tenant: 'acme', '': undefined, 'ö"\\': '\u{1f600}' },
    },
    {
      url: URL,
      scheduleTime: '2035-02-28t23:59:59.5z',
      method: 'DELETE',
      retentionSeconds: 31_536_000,
    },
    { url: URL, delaySeconds: 315_360_000 },
  ])('answers what a later GET answers (%#)', async (input) => {
    const { status, body } = await create(input);
    expect(status).toBe(201);
    expect((await get(body.id)).body).toEqual(body);
  });

  it('keeps the payload byte for byte', async () => {
    const texts = ['', 'plain', '\0nul', '\ufeffbom', 'ünï 😀', '{"a":1}'];
    for (const payload of texts) {
      const { body } = await create({ url: URL, payload });
      expect((await get(body.id, '?view=full')).body).toMatchObject({ payload });
      expect((await get(body.id)).body).not.toHaveProperty('payload');
    }
    const { body } = await create({ url: URL, payloadBase64: '/w==' });
    expect((await get(body.id, '?view=full')).body).toMatchObject({ payloadBase64: '/w==' });
  });

  it('takes a payload of exactly 1 MiB', async () => {
    const payload = 'x'.repeat(1024 * 1024);
    const { body } = await create({ url: URL, payload });
    expect((await get(body.id, '?view=full')).body.payload).toHaveLength(payload.length);
  });

  it.each([
    [{ payload: '{"a":1}' }, 'application/json'],
    [{ payload: '17' }, 'application/json'],
    [{ payload: 'hello' }, 'text/plain; charset=utf-8'],
    [{ payload: 'true or false' }, 'text/plain; charset=utf-8'],
    [{ payload: '' }, 'text/plain; charset=utf-8'],
    [{ payloadBase64: 'AAAA' }, 'application/octet-stream'],
    [{ payload: '{}', contentType: 'text/csv' }, 'text/csv'],
    [{ payload: '{}', headers: { 'CONTENT-type': 'text/xml' } }, 'text/xml'],
    [{}, null],
  ])('gives %j the content type %s', async (input, contentType) => {
    const { body } = await create({ url: URL, ...input });
    expect(body).toMatchObject({ contentType, headers: {} });
  });

  it.each(['{}', '[1]', '"text"', ' \t\r\n-1.5e3', '0', 'true', 'false', 'null'])(
    'takes %j for JSON',
    async (payload) => {
      const { body } = await create({ url: URL, payload });
      expect(body).toMatchObject({ contentType: 'application/json' });
    },
  );

  it('resolves a path and adds the headers of the queue, under those of the task', async () => {
    const target = {
      baseUrl: 'https://base.example/app/',
      headers: { 'X-Queue': 'q', Authorization: 'q', 'Content-Type': 'text/html' },
    };
    await fixture.call('PUT', '/v1/queues/based', { body: { target } });
    const path = '/v1/queues/based/tasks';
    const input = { headers: { authorization: 't' }, payload: '' };
    const { body } = await create({ url: 'sub?x=1#y', ...input }, undefined, path);
    expect(body).toMatchObject({
      url: 'https://base.example/app/sub?x=1',
      contentType: 'text/html',
    });
    expect(body.headers).toEqual({ 'X-Queue': 'q', authorization: 't' });
    const rooted = await create({ url: '/root' }, undefined, path);
    expect(rooted.body.url).toBe('https://base.example/root');
    const absolute = await create({ url: URL }, undefined, path);
    expect(absolute.body.url).toBe(URL);
    for (const url of ['//evil.example/x', '\\\\evil.example/x', 'ftp://base.example/']) {
      const { errors } = expectProblem(await create({ url }, undefined, path), 'invalid-request');
      expect(errors[0].pointer).toBe('/url');
    }
  });

  it('refuses a name that is taken, with the task that has it', async () => {
    const first = await create({ url: URL, name: 'taken' });
    const second = expectProblem(await create({ url: URL, name: 'taken' }), 'name-taken');
    expect(second.taskId).toBe(first.body.id);
  });

  it('creates one task when many ask for a name at once', async () => {
    const race = Array.from({ length: 40 }, () => create({ url: URL, name: 'wanted' }));
    const answers = await Promise.all(race);
    const statuses = answers.map((answer) => answer.status).sort();
    expect(statuses).toEqual([201, ...Array.from({ length: 39 }, () => 409)]);
  });

  it('fails no stranger in a statement with a bad name', async () => {
    await create({ url: URL, name: 'bad-0' });
    const names = Array.from({ length: 60 }, (_, i) => (i % 3 === 0 ? 'bad-0' : `good-${i}`));
    const answers = await Promise.all(names.map((name) => create({ url: URL, name }, `k-${name}`)));
    const wanted = names.map((name) => (name === 'bad-0' ? 409 : 201));
    expect(answers.map((answer) => answer.status)).toEqual(wanted);
  });

  it('answers a repeat of an Idempotency-Key with the first task', async () => {
    const input = { url: URL, payload: 'x', labels: { a: '1', b: '2' } };
    const first = await create(input, 'key 1');
    const same = { labels: { b: '2', a: '1' }, payload: 'x', url: URL };
    const repeats = await Promise.all([create(same, 'key 1'), create(input, 'key 1')]);
    for (const repeat of repeats) {
      expect(repeat.status).toBe(200);
      expect(repeat.body).toEqual(first.body);
    }
    const other = expectProblem(
      await create({ ...input, payload: 'y' }, 'key 1'),
      'idempotency-mismatch',
    );
    expect(other.taskId).toBe(first.body.id);
  });

  it('creates one task when many send a key at once', async () => {
    const answers = await Promise.all(
      Array.from({ length: 40 }, () => create({ url: URL, name: 'keyed' }, 'key many')),
    );
    expect(new Set(answers.map((answer) => answer.body.id)).size).toBe(1);
    expect(answers.filter((answer) => answer.status === 201)).toHaveLength(1);
  });

  it('says so when the task of a key is no longer kept', async () => {
    const { body } = await create({ url: URL }, 'key gone');
    await fixture.call('DELETE', `/v1/tasks/${body.id}`);
    const problem = expectProblem(await create({ url: URL }, 'key gone'), 'task-finished');
    expect(problem.taskId).toBe(body.id);
  });

  it.each(['', 'ü', 'x'.repeat(256)])('refuses the Idempotency-Key %j', async (key) => {
    const { errors } = expectProblem(await create({ url: URL }, key), 'invalid-request');
    expect(errors[0].pointer).toBe('header idempotency-key');
  });

  it('asks to repeat when a name is held by an open transaction', async () => {
    const { sql } = fixture;
    await sql`begin`;
    await sql`insert into errand.task_name (shard, queue, name, task)
      values (0, 1, 'open', gen_random_uuid())`;
    const [held, other] = await Promise.all([
      create({ url: URL, name: 'open' }),
      create({ url: URL, name: 'not-open' }),
    ]);
    await sql`rollback`;
    expectProblem(held, 'database-unavailable');
    expect(held.headers.get('retry-after')).toBe('1');
    expect(other.status).toBe(201);
  });

  it('knows no queue of another project, and none that is not there', async () => {
    const { key } = await fixture.createTenant();
    const headers = { authorization: `Bearer ${key}` };
    expectProblem(await fixture.call('POST', PATH, { body: { url: URL }, headers }), 'not-found');
    expectProblem(await create({ url: URL }, undefined, '/v1/queues/none/tasks'), 'not-found');
    const { body } = await create({ url: URL });
    expectProblem(await fixture.call('GET', `/v1/tasks/${body.id}`, { headers }), 'not-found');
  });
});
