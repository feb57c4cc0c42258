import { randomBytes } from 'node:crypto';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { abandonSecrets } from '../../src/store/master-key.ts';
import { createVault } from '../../src/store/vault.ts';
import { type ApiFixture, createApiFixture, expectProblem } from './api-fixture.ts';

const vault = createVault([randomBytes(32)]);
const TASK = {
  url: 'https://worker.example/',
  payload: 'the payload',
  headers: { 'x-secret': 'geheim' },
};

let fixture: ApiFixture;

beforeAll(async () => {
  fixture = await createApiFixture({ vault });
});
afterAll(() => fixture.close());

const set = (project: string, body: object, method = 'PATCH') =>
  fixture.call(method, `/v1/projects/${project}`, { body });

/** What was changed just now is in force for a project whose key was not seen before. */
async function createTenant(encryptPayloads = true) {
  const { project, key } = await fixture.createTenant();
  if (encryptPayloads) await set(project, { encryptPayloads });
  const headers = { authorization: `Bearer ${key}` };
  const call = (method: string, path: string, body?: object, more = {}) =>
    fixture.call(method, path, { body, headers: { ...headers, ...more } });
  await call('PUT', '/v1/queues/q', {});
  return { project, call };
}

interface StoredRow {
  data_key: number | null;
  body: Buffer;
  headers: string | null;
}

async function storedRow(id: string) {
  const [row] = await fixture.sql<StoredRow[]>`
    select data_key, body, headers::text from errand.task where id = ${id}`;
  // Ciphertext is no text, and may hold any byte.
  return { ...row!, body: row!.body.toString('latin1') };
}

describe('/v1/projects, encryptPayloads', () => {
  it('switches, stays where it is left out, and is safe to repeat', async () => {
    const { project } = await createTenant(false);
    const shown = async () => (await fixture.call('GET', `/v1/projects/${project}`)).body;
    expect((await shown()).encryptPayloads).toBe(false);
    for (const method of ['PUT', 'PATCH']) {
      expect((await set(project, { encryptPayloads: true }, method)).body).toEqual(await shown());
      expect((await shown()).encryptPayloads).toBe(true);
      expect((await set(project, { quotas: {} }, method)).body.encryptPayloads).toBe(true);
    }
    const keys = await fixture.sql`select from errand.data_key where project = ${project}`;
    expect(keys).toHaveLength(1);
    expect((await set(project, { encryptPayloads: false })).body.encryptPayloads).toBe(false);
    expectProblem(await set('nobody', { encryptPayloads: true }), 'not-found');
  });

  it('is refused without a master key', async () => {
    const bare = await createApiFixture();
    for (const method of ['PUT', 'PATCH']) {
      const body = { encryptPayloads: true };
      const answer = await bare.call(method, '/v1/projects/default', { body });
      expect(expectProblem(answer, 'invalid-request').errors).toEqual([
        {
          pointer: '/encryptPayloads',
          expected: expect.stringContaining('ERRAND_MASTER_KEY'),
          received: 'true',
        },
      ]);
    }
    const body = { encryptPayloads: false };
    expect((await bare.call('PATCH', '/v1/projects/default', { body })).status).toBe(200);
    await bare.close();
  });
});

describe('POST /v1/queues/{queue}/tasks in a project that encrypts', () => {
  it('stores neither payload nor headers, and shows both', async () => {
    const { call } = await createTenant();
    const created = await call('POST', '/v1/queues/q/tasks', TASK);
    expect(created.body.headers).toEqual(TASK.headers);
    const { id } = created.body;
    const row = await storedRow(id);
    expect(row.data_key).toEqual(expect.any(Number));
    expect(row.body + row.headers).not.toMatch(/payload|geheim|secret/);
    expect((await call('GET', `/v1/tasks/${id}?view=full`)).body).toMatchObject(TASK);
    const { body } = await call('GET', '/v1/tasks');
    expect(body.items).toMatchObject([{ id, headers: TASK.headers }]);
    expect(body.items[0]).not.toHaveProperty('payload');
    expect((await call('POST', `/v1/tasks/${id}/cancel`)).body.headers).toEqual(TASK.headers);
  });

  it('knows the repeat of an Idempotency-Key, alone and in a batch', async () => {
    const { call } = await createTenant();
    const key = { 'idempotency-key': 'once' };
    const [first, again] = [
      await call('POST', '/v1/queues/q/tasks', TASK, key),
      await call('POST', '/v1/queues/q/tasks', TASK, key),
    ];
    expect([first.status, again.status]).toEqual([201, 200]);
    expect(again.body).toEqual(first.body);
    const other = await call('POST', '/v1/queues/q/tasks', { ...TASK, payload: 'other' }, key);
    expectProblem(other, 'idempotency-mismatch');
    const batch = await call('POST', '/v1/queues/q/tasks/batch', { tasks: [TASK, TASK] });
    for (const { status, task } of batch.body.items) {
      expect(status).toBe(201);
      expect((await storedRow(task.id)).data_key).not.toBeNull();
    }
  });

  it('stores nothing as it is when the data key does not open, and says why in its log', async () => {
    const { project, call } = await createTenant(false);
    const lost = await createApiFixture({ database: fixture.database, vault: createVault([]) });
    await set(project, { encryptPayloads: true });
    const headers = { 'errand-project': project };
    const answer = await lost.call('POST', '/v1/queues/q/tasks', { body: TASK, headers });
    expectProblem(answer, 'internal-error');
    const error = expect.objectContaining({
      message: expect.stringContaining('ERRAND_MASTER_KEY must have the key'),
    });
    expect(lost.logged).toContainEqual({ project, error });
    expect((await call('GET', '/v1/tasks')).body.items).toEqual([]);
    await lost.close();
  });

  it('shows a task whose data key was given up without its content', async () => {
    const { project, call } = await createTenant();
    const { id } = (await call('POST', '/v1/queues/q/tasks', TASK)).body;
    const fresh = await createApiFixture({ database: fixture.database, vault });
    await abandonSecrets(fixture.sql, vault.keyId!);
    const headers = { 'errand-project': project };
    const { status, body } = await fresh.call('GET', `/v1/tasks/${id}?view=full`, { headers });
    expect([status, body.id, body.headers]).toEqual([200, id, {}]);
    expect(body).not.toHaveProperty('payload');
    const error = expect.objectContaining({ message: expect.stringContaining('was given up') });
    expect(fresh.logged).toContainEqual({ task: id, error });
    await fresh.close();
  });
});
