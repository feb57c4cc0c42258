import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { createAdmissions } from '../../src/api/admission.ts';
import type { ProjectQuotas } from '../../src/protocol/access.ts';
import { drawAllowance } from '../../src/store/project-quota.ts';
import { findQueue } from '../../src/store/queue.ts';
import { newTask } from '../support/new-task.ts';
import { type ApiFixture, createApiFixture, expectProblem } from './api-fixture.ts';

let fixture: ApiFixture;

beforeAll(async () => {
  fixture = await createApiFixture();
});
afterAll(() => fixture.close());

const task = { url: 'https://worker.example/', delaySeconds: 600 };

/** A project with these quotas, and a way to enqueue in its queues `one` and `two`. */
async function makeProject(quotas: Partial<ProjectQuotas>) {
  const { project, key } = await fixture.createTenant();
  const headers = { authorization: `Bearer ${key}` };
  await fixture.call('PUT', `/v1/projects/${project}`, { body: { quotas } });
  for (const queue of ['one', 'two']) {
    await fixture.call('PUT', `/v1/queues/${queue}`, { body: {}, headers });
  }
  return {
    project,
    post: (queue: string, body: object = task, more: Record<string, string> = {}) =>
      fixture.call('POST', `/v1/queues/${queue}/tasks`, { body, headers: { ...headers, ...more } }),
    postBatch: (queue: string, tasks: object[]) =>
      fixture.call('POST', `/v1/queues/${queue}/tasks/batch`, { body: { tasks }, headers }),
  };
}

describe('A project with maxBacklog', () => {
  it('answers 429 quota-exceeded once that many wait in all its queues', async () => {
    const { post } = await makeProject({ maxBacklog: 2 });
    expect((await post('one')).status).toBe(201);
    expect((await post('two', { url: task.url })).status).toBe(201);
    const refused = await post('one');
    expectProblem(refused, 'quota-exceeded');
    expect(refused.headers.get('retry-after')).toBe('1');
    expect((await fixture.call('POST', '/v1/queues/default/tasks', { body: task })).status).toBe(
      201,
    );
  });

  it('takes the first of a batch for which there is room, and no room for those that failed', async () => {
    const { post, postBatch } = await makeProject({ maxBacklog: 3 });
    const named = { ...task, name: 'once' };
    const { body } = await postBatch('one', [named, named, { url: 'bad' }, task]);
    const statuses = body.items.map((item: { status: number }) => item.status);
    expect(statuses).toEqual([201, 409, 400, 201]);
    const rest = (await postBatch('two', [task, task])).body.items;
    expect(rest.map(({ status }: { status: number }) => status)).toEqual([201, 429]);
    expect(rest[1].problem).toMatchObject({ code: 'quota-exceeded', retryAfterSeconds: 1 });
    expectProblem(await post('one'), 'quota-exceeded');
  });

  it('answers the repeat of an Idempotency-Key with its first task', async () => {
    const { post } = await makeProject({ maxBacklog: 1, maxEnqueuesPerSecond: 0.001 });
    const key = { 'idempotency-key': 'payment-1' };
    const first = await post('one', task, key);
    const again = await post('one', task, key);
    expect([again.status, again.body.id]).toEqual([200, first.body.id]);
    expectProblem(await post('one'), 'quota-exceeded');
  });
});

describe('A project with maxEnqueuesPerSecond', () => {
  it('takes its burst, and tells when there is room for one more', async () => {
    const { post } = await makeProject({ maxEnqueuesPerSecond: 0.1, maxEnqueueBurst: 3 });
    const answers = await Promise.all(Array.from({ length: 8 }, () => post('one')));
    expect(answers.filter(({ status }) => status === 201)).toHaveLength(3);
    const refused = answers.find(({ status }) => status === 429)!;
    expectProblem(refused, 'quota-exceeded');
    expect(refused.headers.get('retry-after')).toBe('10');
  });

  it('takes nothing at a rate of 0', async () => {
    const { post } = await makeProject({ maxEnqueuesPerSecond: 0 });
    const refused = await post('one');
    expectProblem(refused, 'quota-exceeded');
    expect(refused.headers.get('retry-after')).toBe('60');
  });
});

describe('drawAllowance()', () => {
  it('never grants more than burst and rate, whoever draws, however many at once', async () => {
    const { project } = await makeProject({});
    const rate = { ratePerSecond: 1e-6, burst: 20 };
    const draws = await Promise.all(
      Array.from({ length: 12 }, () =>
        fixture.database.run((sql) => drawAllowance(sql, project, 3, rate)),
      ),
    );
    expect(draws.reduce((sum, { granted }) => sum + granted, 0)).toBe(20);
    expect(draws.filter(({ granted }) => granted === 3)).toHaveLength(6);
  });

  it('refills with time, up to the burst', async () => {
    const { project } = await makeProject({});
    const { sql } = fixture;
    const rate = { ratePerSecond: 2, burst: 5 };
    expect((await drawAllowance(sql, project, 9, rate)).granted).toBe(5);
    const back = (seconds: number) => sql`update errand.project_allowance
      set refilled_at = refilled_at - make_interval(secs => ${seconds}) where project = ${project}`;
    await back(1.1);
    expect((await drawAllowance(sql, project, 9, rate)).granted).toBeGreaterThanOrEqual(2);
    await back(3_600);
    expect((await drawAllowance(sql, project, 9, rate)).granted).toBe(5);
  });
});

describe('createAdmissions()', () => {
  it('asks nobody about a project without quotas', async () => {
    const queue = (await findQueue(fixture.sql, 'default', 'default'))!;
    const database = {
      run: () => Promise.reject(new Error('asked')),
      close: () => Promise.resolve(),
    };
    const quotas = { maxBacklog: null, maxEnqueuesPerSecond: null, maxEnqueueBurst: null };
    const tasks = [newTask(), newTask()];
    expect((await createAdmissions(database).admit(queue, tasks, quotas)).accepted).toEqual(tasks);
  });

  it('draws for many requests at once, not for each', async () => {
    const { project } = await makeProject({});
    const queue = { ...(await findQueue(fixture.sql, 'default', 'default'))!, project };
    let draws = 0;
    const database: typeof fixture.database = {
      ...fixture.database,
      run(verb, options) {
        draws += 1;
        return fixture.database.run(verb, options);
      },
    };
    const admissions = createAdmissions(database);
    const quotas = { maxBacklog: null, maxEnqueuesPerSecond: 1_000, maxEnqueueBurst: null };
    const admitted = await Promise.all(
      Array.from({ length: 300 }, () => admissions.admit(queue, [newTask()], quotas)),
    );
    expect(admitted.every(({ accepted }) => accepted.length === 1)).toBe(true);
    expect(draws).toBeLessThanOrEqual(5);
  });
});
