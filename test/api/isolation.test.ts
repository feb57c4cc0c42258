import { randomBytes } from 'node:crypto';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { newApiKey } from '../../src/api/api-key.ts';
import type { KeyScope } from '../../src/protocol/access.ts';
import { KEY_SCOPES } from '../../src/protocol/access.ts';
import { insertApiKey } from '../../src/store/api-key.ts';
import type { Database, Sql } from '../../src/store/database.ts';
import { type Answer, type ApiFixture, createApiFixture, expectProblem } from './api-fixture.ts';
import { accessTo, type Names, OPERATIONS, type Operation, perform } from './every-operation.ts';

let fixture: ApiFixture;
/** The same service, whose statements are noted. */
let watched: ApiFixture;
let statements: string[] = [];
let theirs: Names;
let before: unknown;

beforeAll(async () => {
  fixture = await createApiFixture();
  watched = await createApiFixture({ database: noting(fixture.database) });
  theirs = await createAll();
  before = await everythingOf(theirs.project);
});
afterAll(async () => {
  await watched.close();
  await fixture.close();
});

describe('every operation × a key of another project', () => {
  it.each(OPERATIONS.map((operation) => [operation.id, operation] as const))(
    '%s tells nothing of what is not its own',
    async (_, operation) => {
      const { key } = await makeKey(await makeProject(), { scopes: ['admin'] });
      const nobodys = namesOfNobody();
      const mine = await perform(watched.call, operation, namesOfNobody(), key);
      const there = await noted(() => perform(watched.call, operation, theirs, key));
      const nowhere = await noted(() => perform(watched.call, operation, nobodys, key));
      expectAlike(there, theirs, nowhere, nobodys);
      if (changesOrNames(operation)) expect([403, 404, mine.status]).toContain(there.answer.status);
      expect(JSON.stringify(there.answer.body ?? '')).not.toContain('top secret');
    },
  );

  it.each(OPERATIONS.map((operation) => [operation.id, operation] as const))(
    '%s is refused in the project that another names in a header, be it there or not',
    async (_, operation) => {
      const { key } = await makeKey(await makeProject(), { scopes: ['admin'] });
      const answers = [];
      for (const project of [theirs.project, namesOfNobody().project]) {
        const call: ApiFixture['call'] = (method, path, options) => {
          const headers = { ...options?.headers, 'errand-project': project };
          return fixture.call(method, path, { ...options, headers });
        };
        answers.push(await perform(call, operation, theirs, key));
      }
      expectProblem(answers[0]!, 'forbidden');
      expect(answers[1]!.body).toEqual(answers[0]!.body);
    },
  );

  it('has changed nothing in the end', async () => {
    expect(await everythingOf(theirs.project)).toEqual(before);
  });
});

describe('every operation × a key that is limited to other queues', () => {
  const touching = OPERATIONS.filter((each) => /queue|task|list/.test(accessTo(each).over));

  it.each(touching.map((operation) => [operation.id, operation] as const))(
    '%s tells nothing of a queue that the key may not use',
    async (_, operation) => {
      const limits = { scopes: KEY_SCOPES.filter((s) => s !== 'admin'), queues: ['other-*'] };
      const { key } = await makeKey(theirs.project, limits);
      const nobodys = { ...namesOfNobody(), project: theirs.project };
      await perform(watched.call, operation, nobodys, key);
      const there = await noted(() => perform(watched.call, operation, theirs, key));
      const nowhere = await noted(() => perform(watched.call, operation, nobodys, key));
      expectAlike(there, theirs, nowhere, nobodys);
      if (accessTo(operation).over !== 'list') expect([403, 404]).toContain(there.answer.status);
      expect(JSON.stringify(there.answer.body ?? '')).not.toContain('top secret');
    },
  );

  it('lists what it may use, and no more', async () => {
    const { key } = await makeKey(theirs.project, { scopes: ['read'], queues: ['hidden*'] });
    const headers = { authorization: `Bearer ${key}` };
    const queues = await fixture.call('GET', '/v1/queues', { headers });
    expect(queues.body.items.map(({ name }: { name: string }) => name)).toEqual([theirs.queue]);
    const tasks = await fixture.call('GET', '/v1/tasks', { headers });
    expect(tasks.body.items.map(({ id }: { id: string }) => id)).toEqual([theirs.taskId]);
  });
});

describe('every operation × a key of each scope', () => {
  it.each(OPERATIONS.map((operation) => [operation.id, operation] as const))(
    '%s is open to its scope and to admin',
    async (_, operation) => {
      const { scope } = accessTo(operation);
      const project = await makeProject();
      const open: KeyScope[] = [];
      for (const held of KEY_SCOPES) {
        const { key } = await makeKey(project, { scopes: [held] });
        const answer = await perform(fixture.call, operation, namesOfNobody(), key);
        if (answer.status === 403) expectProblem(answer, 'forbidden');
        else open.push(held);
      }
      expect(open).toEqual(
        scope === 'operator' ? [] : KEY_SCOPES.filter((s) => s === scope || s === 'admin'),
      );
    },
  );

  it('refuses a limited key what goes for the whole project', async () => {
    const limits = { scopes: ['manage'] as const, queues: ['mail'] };
    const { key } = await makeKey(theirs.project, limits);
    for (const operation of OPERATIONS.filter((each) => accessTo(each).over === 'project')) {
      expectProblem(await perform(fixture.call, operation, namesOfNobody(), key), 'forbidden');
    }
  });
});

/** Whether an operation names something, rather than listing what is the caller's own. */
function changesOrNames({ path }: Operation): boolean {
  return path.includes('{');
}

interface Noted {
  answer: Answer;
  statements: string[];
}

/** The same status, the same words but for the names that were asked for, the same statements. */
function expectAlike(there: Noted, names: Names, nowhere: Noted, others: Names): void {
  expect(there.answer.status).toBe(nowhere.answer.status);
  expect(anonymous(there.answer, names)).toEqual(anonymous(nowhere.answer, others));
  expect(there.statements).toEqual(nowhere.statements);
}

function anonymous({ body, headers }: Answer, names: Names): string {
  let text = JSON.stringify([body ?? null, [...headers]]);
  for (const [place, name] of Object.entries(names)) text = text.replaceAll(name, `<${place}>`);
  // What is made for the caller is another each time.
  return text
    .replace(/\d{4}-\d\d-\d\dT[\d:.]+Z/g, '<time>')
    .replace(/errand_[0-9a-f]{16}_[0-9a-f]{64}/g, '<key>')
    .replace(/"(id|createdAt)":"[0-9a-f]{16,32}"/g, '"$1":"<id>"')
    .replace(/tasks\/[0-9a-f]{32}/g, 'tasks/<id>');
}

async function noted(work: () => Promise<Answer>): Promise<Noted> {
  statements = [];
  const answer = await work();
  // Keys are read again, and their use is written, by the clock and for every request alike.
  return { answer, statements: statements.filter((text) => !text.includes('errand.api_key k')) };
}

function noting(database: Database): Database {
  const handler: ProxyHandler<Sql> = {
    apply(sql, _, args) {
      if (Array.isArray(args[0])) statements.push(args[0].join('?'));
      return Reflect.apply(sql as never, undefined, args);
    },
  };
  return {
    ...database,
    run: (verb, options) => database.run((sql) => verb(new Proxy(sql, handler)), options),
  };
}

async function makeProject(): Promise<string> {
  return (await fixture.createTenant()).project;
}

async function makeKey(
  project: string,
  limits: { scopes: readonly KeyScope[]; queues?: string[] },
): Promise<{ id: string; key: string }> {
  const { id, key, secretHash } = newApiKey();
  await insertApiKey(fixture.sql, { id, project, label: '', secretHash, ...limits });
  return { id, key };
}

/** One of everything in a project of its own. */
async function createAll(): Promise<Names> {
  const { project, id: keyId } = await fixture.createTenant();
  const call = async (method: string, path: string, body?: object) => {
    const answer = await fixture.call(method, path, {
      body,
      headers: { 'errand-project': project },
    });
    expect(answer.status).toBeLessThan(300);
    return answer.body;
  };
  const queue = 'hidden-queue';
  await call('PUT', `/v1/queues/${queue}`, { audience: 'top secret' });
  const task = { url: 'https://worker.example/', payload: 'top secret', owner: 'top secret' };
  const { id: taskId } = await call('POST', `/v1/queues/${queue}/tasks`, task);
  await call('PUT', '/v1/calendars/hidden-calendar', { timeZone: 'Europe/Berlin' });
  const { id: secretId } = await call('POST', `/v1/queues/${queue}/webhook-secrets`);
  return { project, queue, taskId, keyId, secretId, calendar: 'hidden-calendar' };
}

function namesOfNobody(): Names {
  const [text, id] = [randomBytes(6).toString('hex'), randomBytes(8).toString('hex')];
  // The shard within it is one that there is, as that of a real task.
  const taskId = `0198c0de${randomBytes(4).toString('hex')}8000${randomBytes(6).toString('hex')}`;
  return {
    project: `tenant-${text.slice(0, 8)}`,
    queue: `x-${text}`,
    calendar: `y-${text}-calendar`,
    keyId: id,
    secretId: [...id].reverse().join(''),
    taskId,
  };
}

async function everythingOf(project: string): Promise<unknown> {
  const { sql } = fixture;
  return Promise.all([
    sql`select * from errand.queue where project = ${project}`,
    sql`select t.* from errand.task t join errand.queue q on q.id = t.queue and project = ${project}`,
    sql`select r.* from errand.ready r join errand.queue q on q.id = r.queue and project = ${project}`,
    sql`select * from errand.calendar where project = ${project}`,
    sql`select * from errand.project where name = ${project}`,
    sql`select id from errand.api_key where project = ${project} and revoked_at is not null`,
  ]);
}
