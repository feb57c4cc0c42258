import { randomBytes } from 'node:crypto';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { createKeyDirectory } from '../../src/api/key-directory.ts';
import { ACCESS } from '../../src/api/access.ts';
import { listApiKeys, revokeApiKey } from '../../src/store/api-key.ts';
import { createVault, isEnvelope } from '../../src/store/vault.ts';
import { until } from '../support/until.ts';
import { type ApiFixture, createApiFixture, expectProblem } from './api-fixture.ts';

let fixture: ApiFixture;
let call: ApiFixture['call'];

beforeAll(async () => {
  fixture = await createApiFixture({ vault: createVault([randomBytes(32)]) });
  ({ call } = fixture);
});
afterAll(() => fixture.close());

const bearer = (key: string) => ({ headers: { authorization: `Bearer ${key}` } });

async function makeKey(body: object = {}): Promise<{ id: string; key: string }> {
  const answer = await call('POST', '/v1/keys', { body });
  expect(answer.status).toBe(201);
  expect(answer.headers.get('cache-control')).toBe('no-store');
  return answer.body;
}

describe('/v1/keys', () => {
  it('makes a key that it shows once, and lists it without its secret', async () => {
    const limits = { label: 'ci', scopes: ['enqueue'], queues: ['mail-*'], expiresInSeconds: 60 };
    const { id, key } = await makeKey(limits);
    const { body, status } = await call('GET', '/v1/keys');
    expect(status).toBe(200);
    expect(JSON.stringify(body)).not.toContain(key);
    const { expiresInSeconds: _, ...shown } = limits;
    const listed = body.items.find((item: { id: string }) => item.id === id);
    expect(listed).toEqual({
      id,
      ...shown,
      createdAt: expect.stringMatching(/Z$/),
      expiresAt: expect.stringMatching(/Z$/),
      lastUsedAt: null,
      revokedAt: null,
    });
  });

  it.each([
    [{ scopes: [] }, '/scopes'],
    [{ scopes: ['all'] }, '/scopes/0'],
    [{ queues: [] }, '/queues'],
    [{ queues: ['*x'] }, '/queues/0'],
    [{ scopes: ['admin'], queues: ['mail'] }, '/queues'],
    [{ expiresInSeconds: 0 }, '/expiresInSeconds'],
    [{ label: 'a\0b' }, '/label'],
    [{ secret: 'x' }, '/secret'],
  ])('refuses %j', async (body, pointer) => {
    const answer = await call('POST', '/v1/keys', { body });
    expect(expectProblem(answer, 'invalid-request').errors[0].pointer).toBe(pointer);
  });

  it('refuses a key from the moment that its revocation is answered', async () => {
    const { id, key } = await makeKey();
    expect((await call('GET', '/v1/queues', bearer(key))).status).toBe(200);
    expect((await call('DELETE', `/v1/keys/${id}`)).status).toBe(204);
    expectProblem(await call('GET', '/v1/queues', bearer(key)), 'unauthenticated');
    expect((await call('DELETE', `/v1/keys/${id}`)).status).toBe(204);
  });

  it('finds no key that is not there', async () => {
    expectProblem(await call('DELETE', '/v1/keys/0123456789abcdef'), 'not-found');
    expectProblem(await call('DELETE', '/v1/keys/..%2f'), 'not-found');
  });

  it('writes when a key was used, without being asked to wait', async () => {
    const { id, key } = await makeKey();
    await call('GET', '/v1/queues', bearer(key));
    const lastUsedAt = await until(async () => {
      const keys = await listApiKeys(fixture.sql, 'default');
      return keys.find((each) => each.id === id)?.lastUsedAt;
    });
    await call('GET', '/v1/queues', bearer(key));
    const again = (await listApiKeys(fixture.sql, 'default')).find((each) => each.id === id);
    expect(again?.lastUsedAt).toEqual(lastUsedAt);
  });
});

describe('createKeyDirectory()', () => {
  it('refuses what another process revoked a second later, and one that expired at once', async () => {
    let nowMs = 0;
    const keys = createKeyDirectory(fixture.database, () => nowMs);
    const { id } = await makeKey({ expiresInSeconds: 100_000 });
    expect(await keys.find(id)).toMatchObject({ id });
    await revokeApiKey(fixture.sql, 'default', id);
    nowMs = 499;
    expect(keys.find(id)).toMatchObject({ id });
    nowMs = 1_000;
    expect(await keys.find(id)).toBeNull();

    const brief = await makeKey({ expiresInSeconds: 600 });
    const known = (await keys.find(brief.id))!;
    nowMs = known.expiresAtMs - 1;
    expect(await keys.find(brief.id)).not.toBeNull();
    nowMs = known.expiresAtMs;
    expect(await keys.find(brief.id)).not.toBe(known);
  });

  it('answers for a key that it knows without waiting', async () => {
    const keys = createKeyDirectory(fixture.database);
    const { id } = await makeKey();
    await keys.find(id);
    expect(keys.find(id)).not.toBeInstanceOf(Promise);
  });
});

describe('/v1/queues/{queue}/webhook-secrets', () => {
  const path = '/v1/queues/hooks/webhook-secrets';

  it('shows a secret once, keeps it wrapped, and has two at most', async () => {
    await call('PUT', '/v1/queues/hooks', { body: {} });
    const first = await call('POST', path);
    expect(first.status).toBe(201);
    expect(first.body.secret).toMatch(/^whsec_[A-Za-z0-9+/]{43}=$/);
    const [row] = await fixture.sql`select webhook_secrets as kept from errand.queue
      where name = 'hooks'`;
    expect(isEnvelope(row!.kept[0].secret)).toBe(true);
    const second = await call('POST', path);
    expectProblem(await call('POST', path), 'too-many-secrets');
    const { body } = await call('GET', path);
    expect(body.items.map(({ id }: { id: string }) => id)).toEqual([first.body.id, second.body.id]);
    expect(JSON.stringify(body)).not.toContain('whsec_');
    expect((await call('DELETE', `${path}/${first.body.id}`)).status).toBe(204);
    expectProblem(await call('DELETE', `${path}/${first.body.id}`), 'not-found');
    expect((await call('GET', path)).body.items).toHaveLength(1);
  });

  it('finds no queue that is not there', async () => {
    expectProblem(await call('GET', '/v1/queues/none/webhook-secrets'), 'not-found');
    expectProblem(await call('POST', '/v1/queues/none/webhook-secrets'), 'not-found');
  });
});

describe('/v1/projects', () => {
  it('creates, changes and lists projects with their quotas', async () => {
    const none = { maxBacklog: null, maxEnqueuesPerSecond: null, maxEnqueueBurst: null };
    const put = await call('PUT', '/v1/projects/acme', { body: { quotas: { maxBacklog: 9 } } });
    expect([put.status, put.body]).toEqual([
      201,
      {
        name: 'acme',
        quotas: { ...none, maxBacklog: 9 },
        encryptPayloads: false,
        createdAt: expect.any(String),
      },
    ]);
    const body = { quotas: { maxEnqueuesPerSecond: 1.5 } };
    const patched = await call('PATCH', '/v1/projects/acme', { body });
    expect(patched.body.quotas).toEqual({ ...none, maxBacklog: 9, maxEnqueuesPerSecond: 1.5 });
    const listed = (await call('GET', '/v1/projects')).body.items;
    expect(listed).toContainEqual(patched.body);
    expect((await call('GET', '/v1/projects/acme')).body).toEqual(patched.body);
    expect((await call('PUT', '/v1/projects/acme', { body: {} })).body.quotas).toEqual(none);
    expectProblem(await call('PATCH', '/v1/projects/nobody', { body: {} }), 'not-found');
  });
});

describe('authorize()', () => {
  it('guards every route that is served, and no route that is not', () => {
    const served = fixture.api.routes;
    const names = served.map(({ method, path }) => `${method} ${path.replace(/:(\w+)/g, '{$1}')}`);
    // Each is there twice: its guard, and the route itself.
    const lonely = Object.keys(ACCESS).filter((name) => {
      return names.filter((each) => each === name).length < 2;
    });
    expect(lonely).toEqual([]);
  });
});
