import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { ApiParts } from '../../src/api/parts.ts';
import { openDatabase } from '../../src/store/database.ts';
import { type ApiFixture, createApiFixture, expectProblem } from './api-fixture.ts';

let fixture: ApiFixture;
let databaseUrl: string;

beforeAll(async () => {
  fixture = await createApiFixture();
  const { host, port, user, database, pass } = fixture.sql.options as unknown as {
    host: string[];
    port: number[];
    user: string;
    database: string;
    pass: string;
  };
  databaseUrl = `postgres://${user}:${encodeURIComponent(pass)}@${host[0]}:${port[0]}/${database}`;
});
afterAll(() => fixture.close());

/** The answers of an app with other parts than the fixture's. */
async function withParts(
  parts: Partial<ApiParts>,
  test: (fixture: ApiFixture) => Promise<void>,
): Promise<void> {
  const other = await createApiFixture(parts);
  try {
    await test(other);
  } finally {
    await other.close();
  }
}

describe('createApi()', () => {
  it('answers 503 database-unavailable while nothing listens, reads and writes alike', async () => {
    const url = 'postgres://nobody@127.0.0.1:1/none';
    const database = openDatabase({ url, connections: 1, name: 'away', timeoutMs: 5_000 });
    await withParts({ database }, async ({ call }) => {
      for (const [method, body] of [['GET'], ['PUT', {}]] as const) {
        const answer = await call(method, '/v1/queues/default', { body });
        expectProblem(answer, 'database-unavailable');
        expect(answer.headers.get('retry-after')).toBe('1');
      }
    });
    await database.close(0);
  });

  it('answers 503 outcome-unknown when a write does not come back, and says so of no read', async () => {
    const database = openDatabase({
      url: databaseUrl,
      connections: 2,
      name: 'slow',
      timeoutMs: 150,
    });
    await withParts({ database }, async ({ call }) => {
      await fixture.sql.begin(async (sql) => {
        await sql`lock table errand.queue in access exclusive mode`;
        const write = await call('PUT', '/v1/queues/slow', { body: {} });
        expectProblem(write, 'outcome-unknown');
        expect(write.headers.get('retry-after')).toBe('1');
        expectProblem(await call('GET', '/v1/queues/slow'), 'database-unavailable');
      });
    });
    await database.close(0);
  });

  it('logs a bug by its code and place, and shows and logs nothing else of it', async () => {
    let runs = 0;
    const database = {
      // The first asks for the project.
      run: <Result>() =>
        runs++ === 0
          ? Promise.resolve({ name: 'default', quotas: {} } as Result)
          : Promise.reject(new TypeError('the payload is secret')),
      close: () => Promise.resolve(),
    };
    await withParts({ database }, async ({ call, logged }) => {
      const answer = await call('GET', '/v1/queues/a?');
      expect(expectProblem(answer, 'internal-error').detail).not.toContain('secret');
      expect(logged).toEqual([
        { code: 'TypeError', at: expect.any(String), method: 'GET', route: '/v1/queues/:queue' },
      ]);
    });
  });

  it.each(['/v1/queues', '/v1/none', '/healthz', '/docs', '/nowhere'])(
    'sends nosniff with %s',
    async (path) => {
      const { headers } = await fixture.call('GET', path);
      expect(headers.get('x-content-type-options')).toBe('nosniff');
    },
  );
});

describe('healthRoutes()', () => {
  it('/healthz answers whatever the database does', async () => {
    const database = openDatabase({
      url: 'postgres://a@127.0.0.1:1/a',
      connections: 1,
      name: 'away',
    });
    await withParts({ database }, async ({ call }) => {
      expect((await call('GET', '/healthz')).body).toEqual({ status: 'ok' });
    });
    await database.close(0);
  });

  it('/readyz passes on what main says', async () => {
    const ready = await fixture.call('GET', '/readyz');
    expect([ready.status, ready.body]).toEqual([200, { ready: true }]);
    const isReady = () => Promise.resolve({ ready: false, reason: 'shutting down' });
    await withParts({ isReady }, async ({ call }) => {
      const answer = await call('GET', '/readyz');
      expect([answer.status, answer.body]).toEqual([
        503,
        { ready: false, reason: 'shutting down' },
      ]);
      expect(answer.headers.get('cache-control')).toBe('no-store');
    });
  });
});
