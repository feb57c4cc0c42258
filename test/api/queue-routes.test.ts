import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { DEFAULT_QUEUE_SETTINGS } from '../../src/model.ts';
import { type ApiFixture, createApiFixture, expectProblem } from './api-fixture.ts';

let fixture: ApiFixture;
let call: ApiFixture['call'];

beforeAll(async () => {
  fixture = await createApiFixture();
  ({ call } = fixture);
});
afterAll(() => fixture.close());

describe('PUT /v1/queues/{queue}', () => {
  it('creates a queue with the defaults under what was given', async () => {
    const answer = await call('PUT', '/v1/queues/made', {
      body: { retry: { maxAttempts: 5 }, rateLimits: { maxDispatchesPerSecond: 0.5 } },
    });
    expect(answer.status).toBe(201);
    expect(answer.body).toEqual({
      name: 'made',
      paused: false,
      ...DEFAULT_QUEUE_SETTINGS,
      retry: { ...DEFAULT_QUEUE_SETTINGS.retry, maxAttempts: 5 },
      rateLimits: { ...DEFAULT_QUEUE_SETTINGS.rateLimits, maxDispatchesPerSecond: 0.5 },
      createdAt: expect.stringMatching(/^\d{4}-.*Z$/),
      updatedAt: answer.body.createdAt,
    });
  });

  it('replaces the settings of a queue that exists, whole, and keeps its pause', async () => {
    await call('PUT', '/v1/queues/replaced', { body: { audience: 'first' } });
    await call('POST', '/v1/queues/replaced/pause');
    const answer = await call('PUT', '/v1/queues/replaced', { body: { successStatus: '2xx' } });
    expect(answer.status).toBe(200);
    expect(answer.body).toMatchObject({ audience: null, successStatus: '2xx', paused: true });
  });

  it('succeeds for every one of many at once, of which one creates', async () => {
    const answers = await Promise.all(
      Array.from({ length: 12 }, (_, index) =>
        call('PUT', '/v1/queues/contended', { body: { audience: `a${index}` } }),
      ),
    );
    const statuses = answers.map((answer) => answer.status).sort();
    expect(statuses).toEqual([...Array(11).fill(200), 201]);
    const rows = await fixture.sql`select version from errand.queue where name = 'contended'`;
    expect(rows).toEqual([{ version: '12' }]);
  });

  it('spreads queues over the shards', async () => {
    const { project, key } = await fixture.createTenant();
    const headers = { authorization: `Bearer ${key}` };
    for (let i = 0; i < 5; i++) await call('PUT', `/v1/queues/spread-${i}`, { body: {}, headers });
    const rows = await fixture.sql`
      select count(distinct shard)::integer as shards from errand.queue where project = ${project}`;
    expect(rows).toEqual([{ shards: 5 }]);
  });

  it.each([
    ['a b', 'path queue'],
    ['a'.repeat(101), 'path queue'],
    ['%00', 'path queue'],
    ['%ff', 'path queue'],
  ])('refuses the name %s', async (name, pointer) => {
    const answer = await call('PUT', `/v1/queues/${encodeURI(decodeOr(name))}`, { body: {} });
    const problem = expectProblem(answer, 'invalid-request');
    expect(problem.errors).toMatchObject([{ pointer, expected: '1 to 100 of A-Z a-z 0-9 _ -' }]);
  });
});

describe('GET /v1/queues/{queue}', () => {
  it('carries approximate counts', async () => {
    await call('PUT', '/v1/queues/counted', { body: {} });
    const { body, status } = await call('GET', '/v1/queues/counted');
    expect(status).toBe(200);
    expect(body.stats).toEqual({ ready: 0, scheduled: 0, leased: 0, oldestReadyAt: null });
  });

  it.each(['none', 'a%20b', 'a%2Fb', '%00', '%ff', '%E0%A4%A', 'a'.repeat(101)])(
    'answers 404 for %s',
    async (name) => {
      expectProblem(await call('GET', `/v1/queues/${name}`), 'not-found');
    },
  );

  it("promise 9: answers 404 for another project's queue, whatever the method", async () => {
    const { key } = await fixture.createTenant();
    const headers = { authorization: `Bearer ${key}` };
    await call('PUT', '/v1/queues/private', { body: {} });
    for (const [method, path, body] of [
      ['GET', ''],
      ['PATCH', '', {}],
      ['DELETE', ''],
      ['POST', '/pause'],
      ['POST', '/resume'],
      ['POST', '/purge'],
    ] as const) {
      const answer = await call(method, `/v1/queues/private${path}`, { headers, body });
      expectProblem(answer, 'not-found');
    }
    const { status, body } = await call('GET', '/v1/queues/private');
    expect([status, body.paused]).toEqual([200, false]);
  });
});

describe('PATCH /v1/queues/{queue}', () => {
  it('changes what it names and leaves the rest', async () => {
    await call('PUT', '/v1/queues/patched', {
      body: {
        retry: { maxAttempts: 5, maxDoublings: 2 },
        target: { baseUrl: 'https://a.example/', headers: { 'X-One': '1' } },
      },
    });
    const { body } = await call('PATCH', '/v1/queues/patched', {
      body: { retry: { maxAttempts: 6 }, target: { headers: { 'X-Two': '2' } }, audience: 'me' },
    });
    expect(body.retry).toMatchObject({ maxAttempts: 6, maxDoublings: 2 });
    expect(body.target).toEqual({ baseUrl: 'https://a.example/', headers: { 'X-Two': '2' } });
    expect(body.audience).toBe('me');
  });

  it('keeps both of two changes at once', async () => {
    await call('PUT', '/v1/queues/patched-twice', { body: {} });
    await Promise.all([
      call('PATCH', '/v1/queues/patched-twice', { body: { retry: { maxAttempts: 7 } } }),
      call('PATCH', '/v1/queues/patched-twice', { body: { retry: { maxDoublings: 3 } } }),
    ]);
    const { body } = await call('GET', '/v1/queues/patched-twice');
    expect(body.retry).toMatchObject({ maxAttempts: 7, maxDoublings: 3 });
  });

  it('answers 404 for a queue that is not there', async () => {
    expectProblem(await call('PATCH', '/v1/queues/none', { body: {} }), 'not-found');
  });
});

describe('GET /v1/queues', () => {
  it('lists by name, page by page, and each once', async () => {
    const { key } = await fixture.createTenant();
    const headers = { authorization: `Bearer ${key}` };
    const names = ['a', 'b', 'c', 'd', 'e'];
    for (const name of names) await call('PUT', `/v1/queues/${name}`, { body: {}, headers });
    const pages: string[][] = [];
    let cursor: string | null = '';
    while (cursor !== null) {
      const query: string = cursor === '' ? '' : `&cursor=${cursor}`;
      const { body } = await call('GET', `/v1/queues?limit=2${query}`, { headers });
      pages.push(body.items.map((item: { name: string }) => item.name));
      cursor = body.nextCursor;
    }
    expect(pages).toEqual([['a', 'b'], ['c', 'd'], ['e']]);
  });

  it.each([
    ['limit=0', '?limit'],
    ['limit=201', '?limit'],
    ['limit=x', '?limit'],
    ['limit=1&limit=2', '?limit'],
    ['cursor=nonsense', '?cursor'],
    ['cursor=WzFd', '?cursor'],
    ['page=2', '?page'],
  ])('refuses ?%s', async (query, pointer) => {
    const problem = expectProblem(await call('GET', `/v1/queues?${query}`), 'invalid-request');
    expect(problem.errors).toMatchObject([{ pointer }]);
  });
});

describe('POST /v1/queues/{queue}/pause, resume, purge', () => {
  it('pauses and resumes, however often', async () => {
    await call('PUT', '/v1/queues/halted', { body: {} });
    for (const [action, paused] of [
      ['pause', true],
      ['pause', true],
      ['resume', false],
      ['resume', false],
    ] as const) {
      const { status, body } = await call('POST', `/v1/queues/halted/${action}`);
      expect([status, body.paused]).toEqual([200, paused]);
    }
  });

  it('purges', async () => {
    await call('PUT', '/v1/queues/purged', { body: {} });
    expect((await call('POST', '/v1/queues/purged/purge')).status).toBe(200);
    const rows = await fixture.sql`select is_purging from errand.queue where name = 'purged'`;
    expect(rows).toEqual([{ is_purging: true }]);
  });

  it.each(['pause', 'resume', 'purge'])('%s answers 404 without the queue', async (action) => {
    expectProblem(await call('POST', `/v1/queues/none/${action}`), 'not-found');
  });
});

describe('DELETE /v1/queues/{queue}', () => {
  it('deletes an empty queue, whose name is free then', async () => {
    await call('PUT', '/v1/queues/deleted', { body: { audience: 'old' } });
    expect((await call('DELETE', '/v1/queues/deleted')).status).toBe(204);
    expectProblem(await call('GET', '/v1/queues/deleted'), 'not-found');
    expectProblem(await call('DELETE', '/v1/queues/deleted'), 'not-found');
    const again = await call('PUT', '/v1/queues/deleted', { body: {} });
    expect([again.status, again.body.audience]).toEqual([201, null]);
  });

  it('refuses an unknown force', async () => {
    const problem = expectProblem(
      await call('DELETE', '/v1/queues/default?force=yes'),
      'invalid-request',
    );
    expect(problem.errors).toEqual([
      { pointer: '?force', expected: '"true" or "false"', received: '"yes"' },
    ]);
  });
});

function decodeOr(text: string): string {
  try {
    return decodeURIComponent(text);
  } catch {
    return text;
  }
}
