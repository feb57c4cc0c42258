import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { apiKeyId, newApiKey } from '../../src/api/api-key.ts';
import { revokeApiKey } from '../../src/store/api-key.ts';
import { type ApiFixture, createApiFixture, expectProblem } from './api-fixture.ts';

let fixture: ApiFixture;
let call: ApiFixture['call'];

beforeAll(async () => {
  fixture = await createApiFixture();
  ({ call } = fixture);
});
afterAll(() => fixture.close());

const list = (headers: Record<string, string | null>) => call('GET', '/v1/queues', { headers });
const bearer = (key: string) => ({ authorization: `Bearer ${key}` });

describe('authenticate()', () => {
  it.each([
    ['no header', null],
    ['an empty header', ''],
    ['another scheme', 'Basic YTpi'],
    ['no key', 'Bearer '],
    ['two keys', 'Bearer a b'],
    ['a key of no shape', 'Bearer nonsense'],
    ['a key that nobody has', `Bearer ${newApiKey().key}`],
    ['NUL in an id', 'Bearer errand_%00_x'],
  ])('refuses %s', async (_, authorization) => {
    const answer = await list({ authorization });
    expectProblem(answer, 'unauthenticated');
    expect(answer.headers.get('www-authenticate')).toBe('Bearer realm="errand"');
  });

  it('refuses a known id with another secret', async () => {
    const { key } = await fixture.createTenant();
    expect((await list(bearer(key))).status).toBe(200);
    const forged = key.replace(/.$/, (last) => (last === '0' ? '1' : '0'));
    expectProblem(await list(bearer(forged)), 'unauthenticated');
  });

  it('refuses the admin key with a character more or less', async () => {
    expectProblem(await list(bearer(`${fixture.adminKey}x`)), 'unauthenticated');
    expectProblem(await list(bearer(fixture.adminKey.slice(0, -1))), 'unauthenticated');
  });

  it('takes the scheme in any case', async () => {
    expect((await list({ authorization: `bearer ${fixture.adminKey}` })).status).toBe(200);
  });

  it('refuses a revoked key', async () => {
    const { project, id, key } = await fixture.createTenant();
    expect(await revokeApiKey(fixture.sql, project, id)).toBe(true);
    expectProblem(await list(bearer(key)), 'unauthenticated');
  });

  it('knows a new key at once, though it was refused a moment ago', async () => {
    const { id, key, secretHash } = newApiKey();
    expectProblem(await list(bearer(key)), 'unauthenticated');
    await fixture.sql`insert into errand.api_key (id, project, label, secret_hash)
      values (${id}, 'default', '', ${Buffer.from(secretHash)})`;
    expect((await list(bearer(key))).status).toBe(200);
  });

  it("lets a key act in its own project, and in no other's", async () => {
    const { project, key } = await fixture.createTenant();
    expect((await list({ ...bearer(key), 'errand-project': project })).status).toBe(200);
    expectProblem(await list({ ...bearer(key), 'errand-project': 'default' }), 'forbidden');
    expect((await list(bearer(key))).body).toEqual({ items: [], nextCursor: null });
  });

  it('lets the admin key name the project', async () => {
    const { project, key } = await fixture.createTenant();
    await call('PUT', '/v1/queues/theirs', { body: {}, headers: bearer(key) });
    const { body } = await list({ 'errand-project': project });
    expect(body.items.map((item: { name: string }) => item.name)).toEqual(['theirs']);
  });

  it('refuses an unknown project and one that cannot be', async () => {
    expectProblem(await list({ 'errand-project': 'unknown' }), 'not-found');
    const problem = expectProblem(await list({ 'errand-project': 'A B' }), 'invalid-request');
    expect(problem.errors).toMatchObject([{ pointer: 'header errand-project', received: '"A B"' }]);
  });

  it.each([
    '/healthz',
    '/readyz',
    '/openapi.json',
    '/openapi.yaml',
    '/docs',
    '/.well-known/jwks.json',
  ])('asks for no key at %s', async (path) => {
    const { status } = await call('GET', path, { headers: { authorization: null } });
    expect(status).toBe(200);
  });
});

describe('newApiKey()', () => {
  it('makes a key that holds its id and a secret of 256 bits', () => {
    const { id, key, secretHash } = newApiKey();
    expect(key).toMatch(/^errand_[0-9a-f]{16}_[0-9a-f]{64}$/);
    expect(apiKeyId(key)).toBe(id);
    expect(secretHash).toHaveLength(32);
  });
});
