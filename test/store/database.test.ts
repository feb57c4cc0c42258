import { type AddressInfo, createServer } from 'node:net';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { type Database, openDatabase, type Sql } from '../../src/store/database.ts';
import { createTestDatabase, type TestDatabase } from '../support/database.ts';
import { startTcpProxy, type TcpProxy } from '../support/tcp-proxy.ts';
import { until } from '../support/until.ts';

const BOUND_MS = 300;
const RECOVERY_MS = 500;

let test: TestDatabase;
let proxy: TcpProxy;
let database: Database;
let unhandled: unknown[];

beforeAll(async () => {
  test = await createTestDatabase();
});

afterAll(() => test.drop());

beforeEach(async () => {
  proxy = await startTcpProxy(test.url);
  database = open(proxy.url);
  unhandled = [];
  process.on('unhandledRejection', note);
});

afterEach(async () => {
  await database.close(100);
  await proxy.close();
  await new Promise((resolve) => setImmediate(resolve));
  process.off('unhandledRejection', note);
  expect(unhandled).toEqual([]);
});

const note = (reason: unknown) => void unhandled.push(reason);
const one = (sql: Sql) => sql`select 1 as one`;

function open(url: string): Database {
  return openDatabase({ url, connections: 4, timeoutMs: BOUND_MS, name: 'test' });
}

async function timed<Result>(
  run: () => Promise<Result>,
): Promise<{ tookMs: number; result: Result }> {
  const startMs = performance.now();
  const result = await run();
  return { tookMs: performance.now() - startMs, result };
}

const failure = (run: Promise<unknown>) =>
  run.then(
    () => 'no failure',
    (error) => error.code as string,
  );

describe('openDatabase()', () => {
  it('has the server notice within 30 s that we vanished', async () => {
    const [row] = await database.run(
      (sql) => sql`
        select idle.setting::integer + every.setting::integer * times.setting::integer as seconds
        from pg_settings idle, pg_settings every, pg_settings times
        where idle.name = 'tcp_keepalives_idle' and every.name = 'tcp_keepalives_interval'
          and times.name = 'tcp_keepalives_count'`,
    );
    expect(row!.seconds).toBe(30);
  });

  it('fails a statement in its bound when the server hangs, and works again when it does', async () => {
    await database.run(one);
    proxy.loseAnswers();
    const hung = await timed(() => failure(database.run(one)));
    expect(hung.result).toBe('outcome-unknown');
    expect(hung.tookMs).toBeGreaterThanOrEqual(BOUND_MS - 5);
    expect(hung.tookMs).toBeLessThan(BOUND_MS + RECOVERY_MS);
    const many = await timed(() =>
      Promise.all([1, 2, 3, 4, 5].map(() => failure(database.run(one)))),
    );
    // These never got a connection that works, so it is known that nothing was sent.
    expect(new Set(many.result)).toEqual(new Set(['database-unavailable']));
    expect(many.tookMs).toBeLessThan(BOUND_MS + RECOVERY_MS);
    proxy.mend();
    const again = await timed(() => database.run(one));
    expect(again.result).toEqual([{ one: 1 }]);
    expect(again.tookMs).toBeLessThan(RECOVERY_MS);
  });

  it('bounds a statement that takes too long, by its own bound if it has one', async () => {
    await database.run(one);
    const slow = (sql: Sql) => sql`select pg_sleep(30)`;
    const { tookMs, result } = await timed(() => failure(database.run(slow, { timeoutMs: 50 })));
    expect(result).toBe('outcome-unknown');
    expect(tookMs).toBeLessThan(BOUND_MS);
    expect(await database.run(one)).toEqual([{ one: 1 }]);
  });

  it('fails with database-unavailable when nobody listens', async () => {
    const server = createServer();
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    const { port } = server.address() as AddressInfo;
    await new Promise((resolve) => server.close(resolve));
    const nowhere = open(`postgres://127.0.0.1:${port}/nothing`);
    for (let tries = 0; tries < 3; tries += 1) {
      expect(await failure(nowhere.run(one))).toBe('database-unavailable');
    }
    await nowhere.close(100);
  });

  it('fails with database-unavailable when there is no such database or no such user', async () => {
    for (const change of [
      (url: URL) => {
        url.pathname = '/nothing';
      },
      (url: URL) => {
        url.username = 'nobody';
      },
    ]) {
      const url = new URL(test.url);
      change(url);
      const wrong = openDatabase({ url: url.href, connections: 1, name: 'test' });
      expect(await failure(wrong.run(one))).toBe('database-unavailable');
      await wrong.close(100);
    }
  });

  it('says outcome-unknown when connections are reset, and recovers', async () => {
    await Promise.all([1, 2, 3, 4].map(() => database.run(one, { timeoutMs: 10_000 })));
    const slow = Promise.all(
      [1, 2, 3].map(() => failure(database.run((sql) => sql`select pg_sleep(5)`))),
    );
    await database.run(one);
    proxy.cut();
    expect(new Set(await slow)).toEqual(new Set(['outcome-unknown']));
    proxy.mend();
    // A statement that meets a connection between its reset and its end is forgotten by the driver.
    const again = await timed(() =>
      until(async () => (await failure(database.run(one))) === 'no failure'),
    );
    expect(again.tookMs).toBeLessThan(BOUND_MS + RECOVERY_MS);
  });

  it('recovers from killed backends: each statement ends, and once at most', async () => {
    await database.run((sql) => sql`create table if not exists public.mark (n integer)`);
    const killer = openDatabase({ url: test.url, connections: 1, name: 'killer' });
    const kill = (sql: Sql) => sql`
      select pg_terminate_backend(pid) from pg_stat_activity
      where application_name = 'test' and datname = current_database()`;
    const outcomes = new Map<string, number[]>();
    for (let round = 0; round < 10; round += 1) {
      const marks = Array.from({ length: 20 }, (_, index) => round * 20 + index);
      const writes = marks.map(async (mark) => {
        const outcome = await failure(
          database.run(
            (sql) => sql`insert into public.mark select ${mark}::integer from pg_sleep(0.002)`,
          ),
        );
        outcomes.set(outcome, [...(outcomes.get(outcome) ?? []), mark]);
      });
      await killer.run(kill);
      await Promise.all(writes);
    }
    await killer.close(100);
    expect([...outcomes.keys()]).toContain('outcome-unknown');
    for (const outcome of outcomes.keys()) {
      expect(['no failure', 'outcome-unknown', 'database-unavailable']).toContain(outcome);
    }
    const rows = await database.run((sql) => sql<{ n: number }[]>`select n from public.mark`);
    const written = rows.map(({ n }) => n);
    expect(new Set(written).size).toBe(written.length);
    expect(written).toEqual(expect.arrayContaining(outcomes.get('no failure') ?? []));
    for (const mark of outcomes.get('database-unavailable') ?? [])
      expect(written).not.toContain(mark);
  });

  it('passes on what is not about the way to the database', async () => {
    const wrong = (sql: Sql) => sql`select 1 / 0`;
    expect(await failure(database.run(wrong, { timeoutMs: 10_000 }))).toBe('22012');
  });

  it('refuses to run once closed, and closes though statements hang', async () => {
    await database.run(one);
    proxy.loseAnswers();
    const hung = failure(database.run(one, { timeoutMs: 5_000 }));
    await new Promise((resolve) => setImmediate(resolve));
    const { tookMs } = await timed(() => database.close(50));
    expect(tookMs).toBeLessThan(1_000);
    expect(await hung).toBe('outcome-unknown');
    expect(await failure(database.run(one))).toBe('database-unavailable');
  });
});
