import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { Output } from '../../src/model.ts';
import { RUN_NOW_RANK } from '../../src/store/task-run.ts';
import { claimAll, FAIL, SUCCEED, settle } from '../store/task-fixture.ts';
import { type ApiFixture, createApiFixture, expectProblem } from './api-fixture.ts';

const url = 'https://worker.example/';
const UNKNOWN = '0198c0de000070008000000000000001';
let fixture: ApiFixture;

beforeAll(async () => {
  fixture = await createApiFixture();
});
afterAll(() => fixture.close());

async function create(fields: object = {}): Promise<string> {
  const answer = await fixture.call('POST', '/v1/queues/default/tasks', {
    body: { url, ...fields },
  });
  return answer.body.id;
}

/** Creates a task and claims it, as the dispatcher would. */
async function lease(fields: object = {}) {
  const taskId = await create(fields);
  const task = (await claimAll(fixture.sql)).find((each) => each.taskId === taskId)!;
  return { taskId, settle: (decision = SUCCEED) => settle(fixture.sql, task, decision) };
}

const on = (taskId: string, action: string) =>
  fixture.call('POST', `/v1/tasks/${taskId}/${action}`);
const get = async (taskId: string) => (await fixture.call('GET', `/v1/tasks/${taskId}`)).body;

describe('Every task route', () => {
  const routes = [
    ['GET', ''],
    ['DELETE', ''],
    ['POST', '/cancel'],
    ['POST', '/run'],
    ['POST', '/retry'],
    ['GET', '/attempts'],
    ['GET', '/output'],
    ['PUT', '/progress'],
  ] as const;

  it.each(routes)(
    '%s …%s answers 404 to an unknown, malformed or foreign id',
    async (method, rest) => {
      const { key } = await fixture.createTenant();
      const body = method === 'PUT' ? { progress: 1 } : undefined;
      for (const id of [
        UNKNOWN,
        'x',
        UNKNOWN.toUpperCase(),
        `${UNKNOWN}0`,
        '%00',
        'f'.repeat(32),
      ]) {
        expectProblem(await fixture.call(method, `/v1/tasks/${id}${rest}`, { body }), 'not-found');
      }
      const headers = { authorization: `Bearer ${key}` };
      const path = `/v1/tasks/${await create()}${rest}`;
      expectProblem(await fixture.call(method, path, { body, headers }), 'not-found');
    },
  );

  it.each(routes)('%s …%s demands a key', async (method, rest) => {
    const body = method === 'PUT' ? { progress: 1 } : undefined;
    const headers = { authorization: null };
    const answer = await fixture.call(method, `/v1/tasks/${UNKNOWN}${rest}`, { body, headers });
    expectProblem(answer, 'unauthenticated');
  });
});

describe('POST /v1/tasks/{id}/cancel', () => {
  it('answers the task as it is then', async () => {
    const taskId = await create({ delaySeconds: 100 });
    const { status, body } = await on(taskId, 'cancel');
    expect([status, body.state]).toEqual([200, 'cancelled']);
    expect(await get(taskId)).toEqual(body);
    expect((await on(taskId, 'cancel')).body).toEqual(body);
  });

  it('answers a leased task, which ends as cancelled', async () => {
    const task = await lease();
    expect((await on(task.taskId, 'cancel')).body.state).toBe('leased');
    await task.settle();
    expect(await get(task.taskId)).toMatchObject({ state: 'cancelled', attempts: 1 });
  });

  it('answers what it cancelled even if that is kept no longer', async () => {
    const taskId = await create({ retentionSeconds: 0 });
    expect((await on(taskId, 'cancel')).body.state).toBe('cancelled');
    expectProblem(await fixture.call('GET', `/v1/tasks/${taskId}`), 'not-found');
  });
});

describe('POST /v1/tasks/{id}/run', () => {
  it('puts a scheduled task before every priority and wakes its owner', async () => {
    const taskId = await create({ delaySeconds: 100, priority: 2 });
    fixture.wakeUps.length = 0;
    const { body } = await on(taskId, 'run');
    expect(body.state).toBe('ready');
    expect(await get(taskId)).toEqual(body);
    expect(fixture.wakeUps).toMatchObject([
      { rank: RUN_NOW_RANK, dueInSeconds: 0, seq: expect.any(String) },
    ]);
  });

  it('refuses what is leased or has ended', async () => {
    const task = await lease();
    expectProblem(await on(task.taskId, 'run'), 'task-leased');
    await task.settle();
    expectProblem(await on(task.taskId, 'run'), 'task-finished');
  });
});

describe('POST /v1/tasks/{id}/retry', () => {
  it('makes a failed task ready and wakes its owner', async () => {
    const task = await lease({ name: 'redriven' });
    expectProblem(await on(task.taskId, 'retry'), 'task-live');
    await task.settle(FAIL);
    fixture.wakeUps.length = 0;
    const { body } = await on(task.taskId, 'retry');
    expect(body).toMatchObject({ state: 'ready', attempts: 0, finishedAt: null, reason: null });
    expect(await get(task.taskId)).toEqual(body);
    expect(fixture.wakeUps).toHaveLength(1);
  });

  it('refuses what succeeded, and what lost its name', async () => {
    const done = await lease();
    await done.settle();
    expectProblem(await on(done.taskId, 'retry'), 'task-finished');
    const first = await lease({ name: 'lost' });
    await first.settle(FAIL);
    await fixture.sql`update errand.task_name set free_from = now() where name = 'lost'`;
    const second = await create({ name: 'lost' });
    const problem = expectProblem(await on(first.taskId, 'retry'), 'name-taken');
    expect(problem.taskId).toBe(second);
  });
});

describe('DELETE /v1/tasks/{id}', () => {
  const remove = (taskId: string) => fixture.call('DELETE', `/v1/tasks/${taskId}`);

  it('removes the task', async () => {
    const taskId = await create({ name: 'removed' });
    expect((await remove(taskId)).status).toBe(204);
    expectProblem(await remove(taskId), 'not-found');
    expect(await create({ name: 'removed' })).toBeDefined();
  });

  it('only asks a leased task to end', async () => {
    const task = await lease();
    expectProblem(await remove(task.taskId), 'task-leased');
    await task.settle();
    expect((await get(task.taskId)).state).toBe('cancelled');
    expect((await remove(task.taskId)).status).toBe(204);
  });
});

describe('GET /v1/tasks/{id}/attempts', () => {
  it('pages through them, newest first', async () => {
    const task = await lease();
    await task.settle(FAIL);
    await on(task.taskId, 'retry');
    const [again] = await claimAll(fixture.sql);
    await settle(fixture.sql, again!, { kind: 'retry', delaySeconds: 60 });
    const path = `/v1/tasks/${task.taskId}/attempts`;
    const first = await fixture.call('GET', `${path}?limit=1`);
    expect(first.body.items).toEqual([
      {
        id: again!.leaseId.replaceAll('-', ''),
        step: 0,
        attempt: 1,
        outcome: 'responded',
        settlement: 'retry',
        status: 503,
        error: 'status 503',
        startedAt: expect.stringMatching(/Z$/),
        finishedAt: expect.stringMatching(/Z$/),
        durationSeconds: 0.012,
        nextAttemptAt: expect.stringMatching(/Z$/),
      },
    ]);
    const second = await fixture.call('GET', `${path}?limit=1&cursor=${first.body.nextCursor}`);
    expect(second.body).toMatchObject({ items: [{ settlement: 'fail' }], nextCursor: null });
  });
});

describe('GET /v1/tasks/{id}/output', () => {
  const output: Output = {
    body: Buffer.from('<script>alert(1)</script>'),
    contentType: 'text/html; charset=utf-8',
    fileName: 'röport "1"\r\n.html',
    isTruncated: false,
  };
  const ended = async (changes: Partial<Output>) => {
    const task = await lease();
    await task.settle({ kind: 'succeed', output: { ...output, ...changes }, progress: null });
    return fixture.call('GET', `/v1/tasks/${task.taskId}/output`);
  };

  it('sends the bytes so that they never run as a page', async () => {
    const answer = await ended({});
    expect(answer.body).toBe('<script>alert(1)</script>');
    expect(Object.fromEntries(answer.headers)).toMatchObject({
      'content-type': 'text/html; charset=utf-8',
      'content-disposition': `attachment; filename="r_port _1_.html"; filename*=UTF-8''r%C3%B6port%20%221%22.html`,
      'content-security-policy': "default-src 'none'; sandbox",
      'x-content-type-options': 'nosniff',
    });
  });

  it.each([null, 'text/\u0001', 'téxt/plain'])(
    'sends the content type %j as bytes',
    async (contentType) => {
      const answer = await ended({ contentType, fileName: null });
      expect(answer.headers.get('content-type')).toBe('application/octet-stream');
      expect(answer.headers.get('content-disposition')).toBe('attachment');
    },
  );

  it('answers 404 where there is none', async () => {
    const path = `/v1/tasks/${await create()}/output`;
    expectProblem(await fixture.call('GET', path), 'not-found');
  });
});

describe('GET /v1/tasks', () => {
  const list = (query: string) => fixture.call('GET', `/v1/tasks?${query}`);

  it('pages through the tasks of a queue, newest first', async () => {
    await fixture.call('PUT', '/v1/queues/listed', { body: {} });
    const ids: string[] = [];
    for (let i = 0; i < 5; i += 1) {
      const path = '/v1/queues/listed/tasks';
      const { body } = await fixture.call('POST', path, { body: { url, owner: `o${i % 2}` } });
      ids.unshift(body.id);
    }
    const found: string[] = [];
    let cursor = '';
    do {
      const { body } = await list(`queue=listed&limit=2${cursor}`);
      found.push(...body.items.map((task: { id: string }) => task.id));
      cursor = body.nextCursor === null ? '' : `&cursor=${body.nextCursor}`;
    } while (cursor !== '');
    expect(found).toEqual(ids);
    const { body } = await list('queue=listed&state=ready&owner=o1');
    expect(body.items).toEqual([await get(ids[1]!), await get(ids[3]!)]);
  });

  it.each([
    ['cursor=!', '?cursor'],
    [`cursor=${'A'.repeat(80)}`, '?cursor'],
    ['state=done', '?state'],
    ['queue=a%20b', '?queue'],
    ['queue=', '?queue'],
    ['owner=', '?owner'],
    ['owner=%00', '?owner'],
    ['limit=0', '?limit'],
    ['limit=x', '?limit'],
    ['type=email', '?type'],
  ])('refuses ?%s', async (query, pointer) => {
    const { errors } = expectProblem(await list(query), 'invalid-request');
    expect(errors[0].pointer).toBe(pointer);
  });

  it('lists nothing for a queue that is not there', async () => {
    expect((await list('queue=none')).body).toEqual({ items: [], nextCursor: null });
  });
});

describe('GET /v1/tasks/{id}', () => {
  it('refuses another view', async () => {
    const { errors } = expectProblem(
      await fixture.call('GET', `/v1/tasks/${UNKNOWN}?view=all`),
      'invalid-request',
    );
    expect(errors[0].pointer).toBe('?view');
  });
});
