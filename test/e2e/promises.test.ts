import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import postgres, { type Sql } from 'postgres';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import {
  type EmbeddedPostgres,
  startEmbeddedPostgres,
} from '../../src/embedded/embedded-postgres.ts';
import { verifyRooms } from '../../src/store/verify.ts';
import { startTarget, type Target } from '../support/target.ts';
import { until } from '../support/until.ts';
import { ADMIN_KEY, killHard, type Service, startService } from './service.ts';

let folder: string;
let database: EmbeddedPostgres;
let sql: Sql;
let target: Target;
let service: Service;

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'errand-e2e-'));
  // With fsync on, as in production: these tests are about what survives.
  database = await startEmbeddedPostgres({ dataDir: folder });
  sql = postgres(database.url, { max: 2, onnotice: () => {} });
});

beforeEach(async () => {
  target = await startTarget();
});

afterEach(async () => {
  await killHard(service);
  await target.close();
});

afterAll(async () => {
  await sql.end({ timeout: 1 });
  await database.stop();
  await rm(folder, { recursive: true, force: true });
});

const SHORT_TAKEOVER = { ERRAND_TAKEOVER_SECONDS: '2' };

async function untilEnded(count: number): Promise<void> {
  await until(
    async () => {
      const [row] = await sql`select count(*)::int as n from errand.finished`;
      return row!.n >= count;
    },
    { what: `${count} ended tasks`, timeoutMs: 20_000 },
  );
}

async function reset(): Promise<void> {
  await sql`truncate errand.task, errand.finished, errand.attempt, errand.ready, errand.scheduled, errand.lease, errand.task_name, errand.idempotency`;
}

describe('errand serve', () => {
  test('promises 1, 2 and 7: what was answered 201 is dispatched, also after kill -9 in the middle', async () => {
    service = await startService(database.url, SHORT_TAKEOVER);
    await reset();
    let answered = 0;
    target.answer = (_, response) => {
      answered += 1;
      // The process dies with calls in flight and a backlog behind them.
      if (answered === 40) service.process.child.kill('SIGKILL');
      if (answered < 30) response.end();
    };
    const tasks = Array.from({ length: 300 }, (_, n) => ({
      url: `${target.url}/${n}`,
      payload: '',
    }));
    const created = await service.client.enqueueBatch('default', tasks);
    expect(created.map(({ status }) => status)).toEqual(tasks.map(() => 201));
    expect(await service.process.ended).toBeNull();

    target.answer = (_, response) => void response.end();
    service = await startService(database.url, SHORT_TAKEOVER);
    await untilEnded(300);

    const states = await sql`select state, count(*)::int as n from errand.finished group by 1`;
    expect([...states]).toEqual([{ state: 'succeeded', n: 300 }]);
    expect(new Set(target.arrivals.map(({ path }) => path)).size).toBe(300);
    const lost = await sql`select count(*)::int as n from errand.attempt where outcome = 'lost'`;
    expect(lost[0]!.n).toBeGreaterThan(0);
    expect((await verifyRooms(sql)).problems).toEqual([]);
  });

  test('SIGTERM drains: calls in flight finish, nothing is called twice, exit 0', async () => {
    service = await startService(database.url, SHORT_TAKEOVER);
    await reset();
    const open: (() => void)[] = [];
    target.answer = (_, response) => void open.push(() => response.end());
    const tasks = Array.from({ length: 100 }, (_, n) => ({
      url: `${target.url}/${n}`,
      payload: '',
    }));
    await service.client.enqueueBatch('default', tasks);
    await target.arrived(100);

    service.process.child.kill('SIGTERM');
    await until(async () => (await fetch(`${service.url}/readyz`)).status === 503);
    for (const finish of open) finish();
    expect(await service.process.ended).toBe(0);

    expect(target.arrivals).toHaveLength(100);
    const states = await sql`select state, count(*)::int as n from errand.finished group by 1`;
    expect([...states]).toEqual([{ state: 'succeeded', n: 100 }]);
    const rows = await sql`select (select count(*) from errand.lease)::int as leases,
      (select count(*) from errand.dispatcher)::int as dispatchers,
      (select count(*) from errand.ownership where dispatcher is not null)::int as owned`;
    expect(rows[0]).toEqual({ leases: 0, dispatchers: 0, owned: 0 });
  });

  test('SIGINT gives back what does not finish in time, with the same attempt', async () => {
    service = await startService(database.url, { ...SHORT_TAKEOVER, ERRAND_DRAIN_SECONDS: '0.2' });
    await reset();
    target.answer = () => {};
    await service.client.enqueue('default', { url: target.url, payload: 'slow' });
    await target.arrived(1);
    expect(await service.end('SIGINT')).toBe(0);
    const ready = await sql`select attempt from errand.ready`;
    expect([...ready]).toEqual([{ attempt: 0 }]);
    expect((await verifyRooms(sql)).problems).toEqual([]);

    target.answer = (_, response) => void response.end();
    service = await startService(database.url, SHORT_TAKEOVER);
    await untilEnded(1);
    expect(target.arrivals.map((a) => a.headers['errand-attempt'])).toEqual(['1', '1']);
  });

  test('a database that goes away: the API answers 503, the dispatcher goes on when it is back', async () => {
    const own = await mkdtemp(join(tmpdir(), 'errand-e2e-'));
    let postgresServer = await startEmbeddedPostgres({ dataDir: own });
    const { port } = new URL(postgresServer.url);
    try {
      service = await startService(postgresServer.url, SHORT_TAKEOVER);
      const { id } = await service.client.enqueue('default', { url: target.url, delaySeconds: 1 });
      await postgresServer.stop();

      const refused = await fetch(`${service.url}/v1/queues/default/tasks`, {
        method: 'POST',
        headers: { authorization: `Bearer ${ADMIN_KEY}`, 'content-type': 'application/json' },
        body: JSON.stringify({ url: target.url }),
      });
      expect(refused.status).toBe(503);
      expect(await refused.json()).toMatchObject({
        code: expect.stringMatching(/database-unavailable|outcome-unknown/),
      });
      expect((await fetch(`${service.url}/readyz`)).status).toBe(503);
      expect((await fetch(`${service.url}/healthz`)).status).toBe(200);

      postgresServer = await startEmbeddedPostgres({ dataDir: own, port: Number(port) });
      await target.arrived(1);
      const task = await service.client.waitFor(id);
      expect(task).toMatchObject({ state: 'succeeded', attempts: 1 });
    } finally {
      await killHard(service);
      await postgresServer.stop();
      await rm(own, { recursive: true, force: true });
    }
  });

  test('promise 8: serve refuses private targets unless they are allowed', async () => {
    // Taken while loopback was allowed, and claimed when it is so no more.
    service = await startService(database.url, SHORT_TAKEOVER);
    await reset();
    await service.client.queues.pause('default');
    const { id } = await service.client.enqueue('default', {
      url: target.url,
      retry: { maxAttempts: 1 },
    });
    await service.end('SIGTERM');
    service = await startService(database.url, { ...SHORT_TAKEOVER, ERRAND_TARGET_ALLOW: '' });
    await expect(service.client.enqueue('default', { url: target.url })).rejects.toMatchObject({
      code: 'invalid-request',
    });
    await service.client.queues.resume('default');
    expect(await service.client.waitFor(id)).toMatchObject({ state: 'failed' });
    const attempts = await service.client.attempts(id);
    expect(attempts.items[0]).toMatchObject({ outcome: 'blocked' });
    expect(target.arrivals).toEqual([]);
  });
});
