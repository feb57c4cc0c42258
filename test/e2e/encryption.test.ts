import { randomBytes } from 'node:crypto';
import { createClient, type ErrandClient, type NewTask } from 'errand/client';
import postgres, { type Sql } from 'postgres';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { newApiKey } from '../../src/api/api-key.ts';
import { insertApiKey } from '../../src/store/api-key.ts';
import { verifyRooms } from '../../src/store/verify.ts';
import { runErrand } from '../cli/errand-process.ts';
import { createTestDatabase, type TestDatabase } from '../support/database.ts';
import { startTarget, type Target } from '../support/target.ts';
import { until } from '../support/until.ts';
import { ADMIN_KEY, killHard, type Service, startService } from './service.ts';
import { tracesOf } from './traces.ts';

const [OLD, NEW] = [randomBytes(32).toString('hex'), randomBytes(32).toString('hex')];
const PAYLOAD = `payload-${randomBytes(12).toString('hex')}`;
const HEADER = `header-${randomBytes(12).toString('hex')}`;
const LATER = 1_000;

let database: TestDatabase;
let sql: Sql;
let target: Target;
let service: Service;

beforeAll(async () => {
  database = await createTestDatabase();
  sql = postgres(database.url, { max: 1, onnotice: () => {} });
  target = await startTarget();
  service = await startService(database.url, { ERRAND_MASTER_KEY: OLD });
});
afterAll(async () => {
  await killHard(service);
  await target.close();
  await sql.end();
  await database.drop();
});

describe('errand serve with --encrypt-payloads', () => {
  test('leaves no payload and no header in any table, and does all it did', async () => {
    const project = await createProject('sealed');
    await switchEncryption(project, 'on');
    target.answer = answerInSteps;
    target.arrivals.length = 0;
    await liveThroughAll(project);
    expect(await tracesOf(sql, [PAYLOAD, HEADER])).toEqual([]);
    expect((await verifyRooms(sql)).problems).toEqual([]);
    for (const { body, headers } of target.arrivals) {
      expect(body.toString()).toContain(PAYLOAD);
      expect(headers['x-secret']).toBe(HEADER);
    }
  });

  test('a scan does find them where it is off', async () => {
    const project = await createProject('open');
    target.answer = answerInSteps;
    await liveThroughAll(project);
    const traces = await tracesOf(sql, [PAYLOAD, HEADER]);
    expect(traces).toEqual([expect.stringMatching(/^task_\d+$/)]);
    await sql`delete from errand.task where data_key is null`;
    await sql`truncate errand.ready, errand.scheduled, errand.finished`;
  });

  test('goes for new tasks only, whatever lies beside them in the queue', async () => {
    const project = await createProject('mixed');
    const { client } = project;
    target.answer = (_, response) => void response.end();
    await client.queues.pause('q');
    const keys: (number | null)[] = [];
    for (const mode of ['off', 'on', 'new-key', 'off'] as const) {
      await switchEncryption(project, mode);
      const { id } = await client.enqueue('q', taskTo('/'));
      keys.push(await dataKeyOf(id));
    }
    expect(keys).toEqual([null, expect.any(Number), expect.any(Number), null]);
    expect(keys[1]).not.toBe(keys[2]);
    target.arrivals.length = 0;
    await client.queues.resume('q');
    const arrivals = await target.arrived(4);
    const content = ({ body, headers }: (typeof arrivals)[0]) => [`${body}`, headers['x-secret']];
    expect(arrivals.map(content)).toEqual(Array(4).fill([PAYLOAD, HEADER]));
  });

  test('calls nobody with what was altered, or copied from another project', async () => {
    const [mine, theirs] = [await createProject('victim'), await createProject('other')];
    for (const project of [mine, theirs]) {
      await switchEncryption(project, 'on');
      await project.client.queues.pause('q');
    }
    const once = { ...taskTo('/refused'), retry: { maxAttempts: 1 } };
    const enqueue = ({ client }: Project) => client.enqueue('q', once);
    const [foreign, altered, copied] = [
      await enqueue(theirs),
      await enqueue(mine),
      await enqueue(mine),
    ];
    await sql`update errand.task set body = set_byte(body, 20, get_byte(body, 20) # 1)
      where id = ${altered.id}`;
    await sql`update errand.task t set body = f.body, headers = f.headers, data_key = f.data_key
      from errand.task f where t.id = ${copied.id} and f.id = ${foreign.id}`;
    target.arrivals.length = 0;
    await mine.client.queues.resume('q');
    for (const { id } of [altered, copied]) {
      const ended = await mine.client.waitFor(id);
      expect(ended).toMatchObject({ state: 'failed', attempts: 1 });
      const { items } = await mine.client.attempts(id);
      const error = expect.stringMatching(/does not open|has no data key/);
      expect(items).toMatchObject([{ outcome: 'blocked', error }]);
      expect(await mine.client.get(id, { view: 'full' })).not.toHaveProperty('payload');
    }
    expect((await mine.client.list()).items.map(({ id }) => id)).toContain(copied.id);
    expect(target.arrivals).toEqual([]);
    await theirs.client.queues.resume('q');
    expect(await theirs.client.waitFor(foreign)).toMatchObject({ state: 'succeeded' });
  });

  test('outlives a change of the master key, and starts with no other', async () => {
    const project = await createProject('rotated');
    await switchEncryption(project, 'on');
    target.answer = (_, response) => void response.end();
    const { id } = await project.client.enqueue('q', { ...taskTo('/late'), delaySeconds: LATER });
    await service.end('SIGTERM');
    const env = { DATABASE_URL: database.url };
    await runErrand(['master-key', 'rewrap'], { ...env, ERRAND_MASTER_KEY: `${NEW},${OLD}` });
    const others: Record<string, string>[] = [{}, { ERRAND_MASTER_KEY: OLD }];
    for (const other of others) {
      const settings = { ...env, ...other, ERRAND_ADMIN_KEY: ADMIN_KEY, ERRAND_PORT: '0' };
      const { code, stderr } = await runErrand(['serve'], settings);
      expect([code, stderr]).toEqual([1, expect.stringContaining('ERRAND_MASTER_KEY must have')]);
    }
    service = await startService(database.url, { ERRAND_MASTER_KEY: NEW });
    const client = createClient({ url: service.url, key: project.key });
    target.arrivals.length = 0;
    await client.run(id);
    const [arrival] = await target.arrived(1);
    expect([`${arrival!.body}`, arrival!.headers['x-secret']]).toEqual([PAYLOAD, HEADER]);
  });
});

interface Project {
  name: string;
  key: string;
  client: ErrandClient;
}

/** With a key for all it needs, and a queue `q`. */
async function createProject(name: string): Promise<Project> {
  await runErrand(['project', 'create', name], { DATABASE_URL: database.url });
  const { id, key, secretHash } = newApiKey();
  await insertApiKey(sql, { id, project: name, label: '', secretHash, scopes: ['admin'] });
  const client = createClient({ url: service.url, key });
  await client.queues.put('q', { retry: { minBackoffSeconds: 0, maxBackoffSeconds: 0 } });
  return { name, key, client };
}

/** As an operator does it; waits until it is in force. */
async function switchEncryption({ name, client }: Project, mode: 'on' | 'off' | 'new-key') {
  const args = ['project', 'set', name, '--encrypt-payloads', mode];
  const done = await runErrand(args, { DATABASE_URL: database.url, ERRAND_MASTER_KEY: OLD });
  expect(done.stderr).toBe('');
  const [row] = await sql`select data_key from errand.project where name = ${name}`;
  const probe = { url: `${target.url}/probe`, delaySeconds: LATER };
  await until(async () => {
    const { id } = await client.enqueue('q', probe);
    const key = await dataKeyOf(id);
    await client.delete(id);
    return key === row!.data_key;
  });
}

async function dataKeyOf(id: string): Promise<number | null> {
  const [row] = await sql`select data_key from errand.task where id = ${id} and step = 0`;
  return row!.data_key;
}

function taskTo(path: string): NewTask {
  const headers = { 'x-secret': HEADER, authorization: `Bearer ${HEADER}` };
  return { url: target.url + path, payload: PAYLOAD, headers };
}

/** `/steps` goes on twice, the second time at another origin; `/fails` fails until it is retried. */
const answerInSteps: Target['answer'] = ({ path, headers }, response) => {
  const step = Number(headers['errand-step']);
  const isRetried = headers['errand-previous-status'] !== undefined;
  if (path === '/steps' && step < 2) {
    response.setHeader('errand-outcome', 'continue');
    const elsewhere = `${target.url.replace('127.0.0.1', 'localhost')}/steps`;
    const payload = `${PAYLOAD} of step ${step + 1}`;
    return void response.end(JSON.stringify({ payload, ...(step === 1 && { url: elsewhere }) }));
  }
  response.statusCode = path === '/fails' && !isRetried ? 500 : 200;
  response.end();
};

/** What may become of tasks: each way of the API, and each of the dispatcher, with a secret in it. */
async function liveThroughAll({ client }: Project): Promise<void> {
  const state = async (id: string) => (await client.waitFor(id)).state;
  const key = { idempotencyKey: 'once' };
  const named = await client.enqueue('q', { ...taskTo('/named'), name: 'n' }, key);
  expect(await client.enqueue('q', { ...taskTo('/named'), name: 'n' }, key)).toMatchObject({
    id: named.id,
    headers: { 'x-secret': HEADER },
  });
  await expect(client.enqueue('q', taskTo('/other'), key)).rejects.toMatchObject({ status: 422 });
  expect(await state(named.id)).toBe('succeeded');

  const items = await client.enqueueBatch('q', [taskTo('/a'), taskTo('/b')]);
  for (const { task } of items) expect(await state(task!.id)).toBe('succeeded');

  const { id } = await client.enqueue('q', taskTo('/steps'));
  expect(await client.waitFor(id)).toMatchObject({ state: 'succeeded', step: 2 });
  const steps = target.arrivals.filter(({ path }) => path === '/steps').slice(-3);
  expect(steps.map(({ body }) => body.toString())).toEqual([
    PAYLOAD,
    `${PAYLOAD} of step 1`,
    `${PAYLOAD} of step 2`,
  ]);
  const own = steps.map(({ headers }) => headers.authorization === `Bearer ${HEADER}`);
  expect(own).toEqual([true, true, false]);
  expect(await client.get(id, { view: 'full' })).toMatchObject({
    payload: `${PAYLOAD} of step 2`,
    headers: { 'x-secret': HEADER },
  });

  const failing = { ...taskTo('/fails'), retry: { maxAttempts: 1 } };
  const failed = await client.enqueue('q', failing);
  expect(await state(failed.id)).toBe('failed');
  expect(await client.retry(failed.id)).toMatchObject({ headers: { 'x-secret': HEADER } });
  expect(await state(failed.id)).toBe('succeeded');

  const late = await client.enqueue('q', { ...taskTo('/late'), delaySeconds: LATER });
  expect((await client.list({ state: 'scheduled' })).items).toMatchObject([
    { id: late.id, headers: { 'x-secret': HEADER } },
  ]);
  await client.run(late.id);
  expect(await state(late.id)).toBe('succeeded');
  await client.enqueue('q', { ...taskTo('/purged'), delaySeconds: LATER });
  await client.queues.purge('q');
  await until(async () => (await client.queues.get('q')).stats?.scheduled === 0);
  await client.enqueue('q', { ...taskTo('/kept'), delaySeconds: LATER });
}
