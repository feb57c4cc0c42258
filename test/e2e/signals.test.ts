import postgres, { type Sql } from 'postgres';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { type ErrandProcess, spawnErrand } from '../cli/errand-process.ts';
import { verifyRooms } from '../../src/store/verify.ts';
import { createTestDatabase, type TestDatabase } from '../support/database.ts';
import { startTarget, type Target } from '../support/target.ts';
import { until } from '../support/until.ts';
import { killHard, type Service, startService } from './service.ts';

let database: TestDatabase;
let sql: Sql;
let target: Target;
let service: Service;
let draining: ErrandProcess | undefined;

beforeAll(async () => {
  database = await createTestDatabase();
  sql = postgres(database.url, { max: 2, onnotice: () => {} });
});

beforeEach(async () => {
  target = await startTarget();
  service = await startService(database.url, { ERRAND_TAKEOVER_SECONDS: '2' });
});

afterEach(async () => {
  draining?.child.kill('SIGKILL');
  await killHard(service);
  await sql`delete from errand.dispatcher`;
  await target.close();
});

afterAll(async () => {
  expect((await verifyRooms(sql)).problems).toEqual([]);
  await sql.end();
  await database.drop();
});

async function enqueue(count: number): Promise<void> {
  const task = { url: target.url, payload: '' };
  await service.client.enqueueBatch('default', new Array(count).fill(task));
}

/** Enough for a wake-up and a full look, both of which would have brought the task to the target. */
async function looksPass(): Promise<void> {
  const seen = async () => {
    const [row] = await sql<{ heartbeat: string }[]>`select heartbeat from errand.dispatcher`;
    return BigInt(row!.heartbeat);
  };
  const before = await seen();
  await until(async () => (await seen()) >= before + 5n, { what: 'five heartbeats' });
}

describe('a dispatcher process', () => {
  test('SIGUSR2 pauses its claims, not its calls in flight; SIGCONT resumes', async () => {
    const open: (() => void)[] = [];
    target.answer = (_, response) => void open.push(() => response.end());
    await enqueue(1);
    await target.arrived(1);

    service.process.child.kill('SIGUSR2');
    await service.process.says(/paused by SIGUSR2/);
    open[0]!();
    await until(async () => (await sql`select from errand.finished`).length === 1);
    await enqueue(3);
    await looksPass();
    expect(target.arrivals).toHaveLength(1);
    expect((await service.client.queues.get('default')).stats.ready).toBe(3);

    service.process.child.kill('SIGCONT');
    await service.process.says(/resumed by SIGCONT/);
    await target.arrived(4);
    for (const answer of open) answer();
    await until(async () => (await sql`select from errand.finished`).length === 4);
    expect(await service.end('SIGTERM')).toBe(0);
  });

  test('SIGCONT without a pause changes nothing, nor does it lift the pause of a queue', async () => {
    await sql`update errand.queue set paused_at = now(), version = version + 1`;
    await enqueue(1);
    service.process.child.kill('SIGSTOP');
    service.process.child.kill('SIGCONT');
    await looksPass();
    expect(target.arrivals).toHaveLength(0);
    expect(service.process.stdout()).not.toMatch(/resumed/);

    service.process.child.kill('SIGUSR2');
    await service.process.says(/paused by SIGUSR2/);
    service.process.child.kill('SIGCONT');
    await service.process.says(/resumed by SIGCONT/);
    await looksPass();
    expect(target.arrivals).toHaveLength(0);
    await sql`update errand.queue set paused_at = null, version = version + 1`;
    await target.arrived(1);
  });

  test('resumed after another took its shards over claims nothing with the old right', async () => {
    service.process.child.kill('SIGUSR2');
    await service.process.says(/paused by SIGUSR2/);
    await enqueue(20);
    service.process.child.kill('SIGSTOP');
    draining = spawnErrand(['dispatch'], {
      DATABASE_URL: database.url,
      ERRAND_TARGET_ALLOW: 'loopback',
      ERRAND_TAKEOVER_SECONDS: '2',
    });
    await target.arrived(20);
    service.process.child.kill('SIGCONT');
    await service.process.says(/resumed by SIGCONT/);
    await enqueue(20);
    await target.arrived(40);
    await until(async () => (await sql`select from errand.lease`).length === 0);
    const ids = target.arrivals.map(({ headers }) => headers['errand-task-id']);
    expect(new Set(ids).size).toBe(ids.length);
  });
});

describe('errand drain as a dispatcher', () => {
  test('SIGTERM gives back what it did not begin, and ends with 1', async () => {
    await service.end('SIGTERM');
    const before = target.arrivals.length;
    const open: (() => void)[] = [];
    target.answer = (_, response) => void open.push(() => response.end());
    await sql`update errand.queue set settings = '{"rateLimits": {"maxConcurrentDispatches": 2}}'`;
    service = await startService(database.url, { ERRAND_ROLES: 'api' });
    await enqueue(10);
    draining = spawnErrand(['drain', '--queue', 'default'], {
      DATABASE_URL: database.url,
      ERRAND_DRAIN_SECONDS: '1',
      ERRAND_TARGET_ALLOW: 'loopback',
    });
    await target.arrived(before + 2);
    draining.child.kill('SIGTERM');
    for (const answer of open) answer();
    expect(await draining.ended).toBe(1);
    expect(draining.stderr()).toMatch(
      /was not drained: stopped; \d+ tasks? dispatched, \d+ waiting/,
    );
    expect(await sql`select from errand.lease`).toHaveLength(0);
    expect(await sql`select from errand.dispatcher`).toHaveLength(0);
  });
});
