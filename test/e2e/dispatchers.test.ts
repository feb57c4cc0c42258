import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { decodeJwt } from 'jose';
import postgres, { type Sql } from 'postgres';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import {
  type EmbeddedPostgres,
  startEmbeddedPostgres,
} from '../../src/embedded/embedded-postgres.ts';
import { SHARDS } from '../../src/model.ts';
import { verifyRooms } from '../../src/store/verify.ts';
import { type Arrival, startTarget, type Target } from '../support/target.ts';
import { startTcpProxy } from '../support/tcp-proxy.ts';
import { until } from '../support/until.ts';
import { killHard, type Service, startService } from './service.ts';

const TAKEOVER_MS = 2_000;
const SLOTS = 5;

let folder: string;
let database: EmbeddedPostgres;
let sql: Sql;
let target: Target;
const services: Service[] = [];

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'errand-e2e-'));
  database = await startEmbeddedPostgres({ dataDir: folder });
  sql = postgres(database.url, { max: 2, onnotice: () => {} });
});

beforeEach(async () => {
  target = await startTarget((_, response) => void setTimeout(() => response.end(), 20));
});

afterEach(async () => {
  await Promise.all(services.splice(0).map(killHard));
  await target.close();
  await sql`truncate errand.task, errand.finished, errand.attempt, errand.ready, errand.scheduled,
    errand.parked, errand.lease, errand.idempotency, errand.dispatcher`;
});

afterAll(async () => {
  await sql.end({ timeout: 1 });
  await database.stop();
  await rm(folder, { recursive: true, force: true });
});

async function start(role: 'api' | 'dispatcher', databaseUrl = database.url): Promise<Service> {
  const service = await startService(databaseUrl, {
    ERRAND_ROLES: role,
    ERRAND_TAKEOVER_SECONDS: String(TAKEOVER_MS / 1000),
  });
  services.push(service);
  return service;
}

const pidOf = (service: Service) => service.process.child.pid!;

/** How many shards each dispatcher owns, by its pid. */
async function shares(): Promise<Record<number, number>> {
  const rows = await sql<{ pid: number; shards: number }[]>`
    select d.pid, count(o.shard)::integer as shards
    from errand.dispatcher d left join errand.ownership o on o.dispatcher = d.id group by d.pid`;
  return Object.fromEntries(rows.map(({ pid, shards }) => [pid, shards]));
}

async function sharesBecome(expected: Record<number, number>, timeoutMs: number): Promise<void> {
  const wanted = JSON.stringify(expected);
  let found = '';
  const isSo = async () => {
    found = JSON.stringify(await shares());
    return found === wanted;
  };
  await until(isSo, { timeoutMs, what: wanted }).catch((error: Error) => {
    throw new Error(`${error.message}, found ${found}`);
  });
}

/** Two dispatchers with half of the shards each, an API, and a queue of five slots that the first owns. */
async function startPair(databaseUrl?: string) {
  const owner = await start('dispatcher', databaseUrl);
  await sharesBecome({ [pidOf(owner)]: SHARDS }, TAKEOVER_MS);
  const [api, other] = await Promise.all([start('api'), start('dispatcher', databaseUrl)]);
  const half = SHARDS / 2;
  await sharesBecome({ [pidOf(owner)]: half, [pidOf(other)]: half }, 2 * TAKEOVER_MS);
  await api.client.queues.put('narrow', { rateLimits: { maxConcurrentDispatches: SLOTS } });
  const [queue] = await sql`
    select d.pid from errand.queue q join errand.ownership o on o.pool = q.pool and o.shard = q.shard
    join errand.dispatcher d on d.id = o.dispatcher where q.name = 'narrow'`;
  expect(queue).toEqual({ pid: pidOf(owner) });
  return { owner, other, client: api.client };
}

function tasks(count: number) {
  const retry = { minBackoffSeconds: 0.1, maxBackoffSeconds: 0.1 };
  return Array.from({ length: count }, () => ({ url: target.url, payload: '', retry }));
}

async function ended(count: number): Promise<void> {
  const areAll = async () => {
    const [row] = await sql`select count(*)::integer as n from errand.finished`;
    return row!.n === count;
  };
  await until(areAll, { what: `${count} ended tasks`, timeoutMs: 15_000 });
  const states = await sql`select distinct state from errand.finished`;
  expect([...states]).toEqual([{ state: 'succeeded' }]);
  expect((await verifyRooms(sql)).problems).toEqual([]);
}

async function lostAttempts(): Promise<number> {
  const [row] = await sql`
    select count(*)::integer as lost from errand.attempt where outcome = 'lost'`;
  return row!.lost;
}

/** What a dispatcher has claimed and not settled: its calls in flight, and those just answered. */
async function leasesOf(service: Service): Promise<number> {
  const [row] = await sql`
    select count(*)::integer as leases from errand.lease l
    join errand.dispatcher d on d.id = l.dispatcher where d.pid = ${pidOf(service)}`;
  return row!.leases;
}

/** Calls that come after a later attempt of their task, or with a lease that was used before. */
function staleCalls(arrivals: readonly Arrival[]): Arrival[] {
  const latest = new Map<string, number>();
  const leases = new Set<string>();
  return arrivals.filter(({ headers }) => {
    const task = String(headers['errand-task-id']);
    const attempt = Number(headers['errand-attempt']);
    const lease = decodeJwt(String(headers['errand-authorization']).replace('Bearer ', '')).jti!;
    const isStale = attempt <= (latest.get(task) ?? 0) || leases.has(lease);
    latest.set(task, Math.max(attempt, latest.get(task) ?? 0));
    leases.add(lease);
    return isStale;
  });
}

describe('several dispatchers', () => {
  test('share the shards evenly; one that leaves by SIGTERM hands its own over at once', async () => {
    const { owner, other } = await startPair();
    expect(await owner.end('SIGTERM')).toBe(0);
    await sharesBecome({ [pidOf(other)]: SHARDS }, 2_000);
  });

  test('kill -9 of the owner: taken over in time, nothing lost, as seen at the target', async () => {
    const { owner, other, client } = await startPair();
    await client.enqueueBatch('narrow', tasks(400));
    await target.arrived(50);
    owner.process.child.kill('SIGKILL');
    const killedMs = performance.now();
    const left = await leasesOf(owner);
    await sharesBecome({ [pidOf(other)]: SHARDS }, TAKEOVER_MS + 500);
    const callsBefore = target.arrivals.length;
    await target.arrived(callsBefore + 1);
    expect(target.arrivals[callsBefore]!.atMs - killedMs).toBeLessThan(TAKEOVER_MS + 1_000);
    await ended(400);
    // A claim that was under way when it was killed may have been committed after the count.
    expect(await lostAttempts()).toBeLessThanOrEqual(left + SLOTS);
    expect(target.inFlight.most).toBeLessThanOrEqual(SLOTS);
    expect(staleCalls(target.arrivals)).toEqual([]);
  });

  test('SIGSTOP of the owner beyond the take-over time: thawed, it sends nothing stale', async () => {
    const { owner, other, client } = await startPair();
    await client.enqueueBatch('narrow', tasks(600));
    await target.arrived(50);
    owner.process.child.kill('SIGSTOP');
    const left = await leasesOf(owner);
    await sharesBecome({ [pidOf(other)]: SHARDS }, TAKEOVER_MS + 500);
    const callsBefore = target.arrivals.length;
    await target.arrived(callsBefore + 50);
    owner.process.child.kill('SIGCONT');
    const half = SHARDS / 2;
    await sharesBecome({ [pidOf(owner)]: half, [pidOf(other)]: half }, 2 * TAKEOVER_MS);
    await ended(600);
    expect(staleCalls(target.arrivals)).toEqual([]);
    // A claim that was under way when it was frozen may have been committed after the count.
    expect(await lostAttempts()).toBeLessThanOrEqual(left + SLOTS);
    expect(target.inFlight.most).toBeLessThanOrEqual(SLOTS);
  });

  test('a database that is away three times as long as the take-over time: nobody is dead', async () => {
    const proxy = await startTcpProxy(database.url);
    try {
      const { client } = await startPair(proxy.url);
      const before = await sql`select id, pid from errand.dispatcher order by id`;
      const owned = await sql`select shard, dispatcher from errand.ownership order by shard`;
      proxy.cut();
      await new Promise((resolve) => setTimeout(resolve, 3 * TAKEOVER_MS));
      await client.enqueueBatch('narrow', tasks(50));
      proxy.mend();
      await ended(50);
      // Long enough for a dispatcher that was wrongly watched to be struck.
      await new Promise((resolve) => setTimeout(resolve, 1.5 * TAKEOVER_MS));
      expect(await sql`select id, pid from errand.dispatcher order by id`).toEqual(before);
      expect(await sql`select shard, dispatcher from errand.ownership order by shard`).toEqual(
        owned,
      );
      expect(target.arrivals).toHaveLength(50);
      expect(await lostAttempts()).toBe(0);
    } finally {
      await proxy.close();
    }
  });
});
