import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { registerDispatcher, takeShards } from '../../src/store/ownership.ts';
import { type ApiFixture, createApiFixture, expectProblem } from './api-fixture.ts';

let fixture: ApiFixture;

beforeAll(async () => {
  fixture = await createApiFixture();
});
afterAll(() => fixture.close());

describe('GET /v1/dispatchers', () => {
  it('lists what each owns, for the key of any project', async () => {
    const { sql, call } = fixture;
    const dispatcher = await registerDispatcher(sql, { pool: 'default', host: 'box', pid: 42 });
    await takeShards(sql, { pool: 'default', dispatcher, dead: [], limit: 3 });
    const { key } = await fixture.createTenant();
    const headers = { authorization: `Bearer ${key}` };
    const { status, body } = await call('GET', '/v1/dispatchers', { headers });
    expect(status).toBe(200);
    expect(body).toEqual({
      items: [
        {
          id: dispatcher,
          pool: 'default',
          host: 'box',
          pid: 42,
          startedAt: expect.stringMatching(/^\d{4}-.*Z$/),
          seenAt: expect.stringMatching(/^\d{4}-.*Z$/),
          shards: [0, 1, 2],
        },
      ],
      nextCursor: null,
    });
  });

  it('demands a key, and takes no query', async () => {
    const bare = await fixture.call('GET', '/v1/dispatchers', { headers: { authorization: null } });
    expectProblem(bare, 'unauthenticated');
    expectProblem(await fixture.call('GET', '/v1/dispatchers?limit=1'), 'invalid-request');
  });
});
