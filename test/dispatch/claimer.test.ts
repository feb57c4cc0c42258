import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { connect, type Database, openDatabase, type Sql } from '../../src/store/database.ts';
import { putQueue } from '../../src/store/queue-change.ts';
import { verifyRooms } from '../../src/store/verify.ts';
import { type Bench, startBench } from '../support/dispatcher.ts';
import { startTarget, type Target } from '../support/target.ts';
import { startTcpProxy, type TcpProxy } from '../support/tcp-proxy.ts';
import { until } from '../support/until.ts';

const CONCURRENCY = 8;

let bench: Bench;
let target: Target;
let proxy: TcpProxy;
let faulty: Database;
let blocker: Sql;

/** The bench's own statements go straight to the database, the dispatcher's through the proxy. */
beforeEach(async () => {
  target = await startTarget();
  bench = await startBench();
  await bench.dispatcher.drain(0);
  proxy = await startTcpProxy(bench.databaseUrl);
  faulty = openDatabase({ url: proxy.url, connections: 8, name: 'faulty', timeoutMs: 500 });
  blocker = connect({ url: bench.databaseUrl, connections: 1, name: 'blocker' });
});

afterEach(async () => {
  proxy.mend();
  await bench.close();
  await Promise.all([faulty.close(), blocker.end()]);
  await proxy.close();
  await target.close();
});

const start = (options: object = {}) =>
  bench.startDispatcher({ database: faulty, concurrency: CONCURRENCY, ...options });

const tasks = (count: number, path = '/') =>
  Array.from({ length: count }, () => ({ url: `${target.url}${path}` }));

async function count(table: 'lease' | 'ready' | 'finished' | 'attempt'): Promise<number> {
  const [row] = await bench.database.run(
    (sql) => sql`select count(*)::integer as rows from ${sql(`errand.${table}`)}`,
  );
  return row!.rows;
}

const finished = (rows: number) =>
  until(async () => (await count('finished')) === rows, {
    timeoutMs: 20_000,
    what: `${rows} finished tasks`,
  });

async function waitingClaims(): Promise<number> {
  const [row] = await bench.database.run(
    (sql) => sql`select count(*)::integer as claims from pg_stat_activity
      where datname = current_database() and wait_event_type = 'Lock' and query like '%for share%'`,
  );
  return row!.claims;
}

async function expectOnceEach(ids: string[]): Promise<void> {
  const arrived = target.arrivals.map((arrival) => arrival.headers['errand-task-id']);
  expect(arrived.sort()).toEqual([...ids].sort());
  expect(target.arrivals.every((arrival) => arrival.headers['errand-attempt'] === '1')).toBe(true);
  expect((await bench.database.run(verifyRooms)).problems).toEqual([]);
}

describe('claims under faults', () => {
  test('a claim whose answer was lost is found, given back, and dispatched exactly once', async () => {
    const dispatcher = await start();
    const warmUp = await bench.enqueue(...tasks(CONCURRENCY));
    dispatcher.lookNow();
    await finished(CONCURRENCY);
    const ids = await bench.enqueue(...tasks(20));
    // The claim waits for the lock of its ownership row; once it does, its answer is as good as lost.
    await blocker.begin(async (transaction) => {
      await transaction`select from errand.ownership where shard = 0 for update`;
      dispatcher.wake([{ shard: 0, queue: 1, rank: 0, seq: '1', dueInSeconds: 0 }]);
      await until(async () => (await waitingClaims()) > 0, { what: 'a claim that waits' });
      proxy.loseAnswers();
    });
    await until(async () => (await count('lease')) > 0, { what: 'a claim without an answer' });
    proxy.mend();
    await finished(CONCURRENCY + 20);
    await expectOnceEach([...warmUp, ...ids]);
  });

  test('claims that failed leak neither slots nor tokens', async () => {
    const dispatcher = await start();
    const limits = {
      maxDispatchesPerSecond: 0.001,
      maxBurstSize: 100,
      maxConcurrentDispatches: 16,
    };
    await bench.database.run((sql) =>
      putQueue(sql, { project: 'default', name: 'default', settings: { rateLimits: limits } }),
    );
    for (let round = 0; round < 4; round++) {
      await bench.enqueue(...tasks(1, '/warm-up'));
      dispatcher.lookNow();
      await finished(round + 1);
      proxy.cut();
      dispatcher.wake([{ shard: 0, queue: 1, rank: 0, seq: '1', dueInSeconds: 0 }]);
      await new Promise((resolve) => setTimeout(resolve, 60));
      proxy.mend();
    }
    // What is left of the burst goes out to the last token, at full concurrency, and no more does.
    target.answer = (_, response) => void setTimeout(() => response.end(), 30);
    await bench.enqueue(...tasks(100));
    dispatcher.lookNow();
    await finished(100);
    expect(target.inFlight.most).toBe(CONCURRENCY);
    expect(target.arrivals).toHaveLength(100);
    expect(await count('ready')).toBe(4);
  });

  test('while the database is away for 3 s nothing is called twice, and then it goes on by itself', async () => {
    target.answer = (_, response) => void setTimeout(() => response.end(), 10);
    const dispatcher = await start();
    const before = await bench.enqueue(...tasks(60));
    dispatcher.lookNow();
    await target.arrived(10);
    proxy.cut();
    const during = await bench.enqueue(...tasks(60));
    await new Promise((resolve) => setTimeout(resolve, 3_000));
    proxy.mend();
    await finished(120);
    await expectOnceEach([...before, ...during]);
    expect(await count('attempt')).toBe(120);
  });

  test('an answer that comes while the database is away is settled later, and its call not repeated', async () => {
    const answers: (() => void)[] = [];
    target.answer = (_, response) => void answers.push(() => response.end('kept'));
    const dispatcher = await start();
    const ids = await bench.enqueue(...tasks(CONCURRENCY));
    dispatcher.lookNow();
    await target.arrived(CONCURRENCY);
    proxy.cut();
    for (const answer of answers) answer();
    await until(() => target.inFlight.now === 0);
    expect(await count('finished')).toBe(0);
    proxy.mend();
    await finished(CONCURRENCY);
    await expectOnceEach(ids);
  });

  test('a dispatcher that was struck meanwhile settles nothing: the attempt counts as lost', async () => {
    let end: (() => void) | undefined;
    target.answer = (arrival, response) => {
      if (arrival.headers['errand-attempt'] === '1') end = () => response.end('stale');
      else response.end('fresh');
    };
    const stale = await start({ takeoverMs: 500 });
    const [id] = await bench.enqueue(...tasks(1));
    stale.lookNow();
    await target.arrived(1);
    proxy.cut();
    await bench.startDispatcher({ takeoverMs: 500 });
    await target.arrived(2);
    await finished(1);
    end!();
    proxy.mend();
    await until(() => target.inFlight.now === 0);
    await stale.drain(500);
    const attempts = await bench.database.run(
      (sql) => sql`select attempt, outcome, settlement from errand.attempt order by attempt`,
    );
    expect([...attempts]).toEqual([
      { attempt: 1, outcome: 'lost', settlement: 'retry' },
      { attempt: 2, outcome: 'responded', settlement: 'succeed' },
    ]);
    const [row] = await bench.database.run(
      (sql) => sql<{ output: Buffer }[]>`select output from errand.finished where task = ${id!}`,
    );
    expect(row!.output.toString()).toBe('fresh');
  });

  test('an error in a recovery ends neither the process nor the claims', async () => {
    const dispatcher = await start();
    await bench.enqueue(...tasks(1));
    dispatcher.lookNow();
    await finished(1);
    const rename = (from: string, to: string) =>
      bench.database.run((sql) => sql.unsafe(`alter table errand.${from} rename to ${to}`));
    await rename('lease', 'renamed');
    await bench.enqueue(...tasks(3));
    dispatcher.lookNow();
    await new Promise((resolve) => setTimeout(resolve, 800));
    await rename('renamed', 'lease');
    await finished(4);
    expect(target.arrivals).toHaveLength(4);
  });
});

describe('claims of several queues', () => {
  async function putOnShard0(name: string, rateLimits: object): Promise<number> {
    const { queue } = await bench.database.run((sql) =>
      putQueue(sql, { project: 'default', name, settings: { rateLimits } }),
    );
    await bench.database.run(
      (sql) => sql`update errand.queue set shard = 0 where id = ${queue.id}`,
    );
    return queue.id;
  }

  test('a queue at its concurrency does not slow down one at its rate', async () => {
    const full = await putOnShard0('full', { maxConcurrentDispatches: 1 });
    const paced = await putOnShard0('paced', { maxDispatchesPerSecond: 20, maxBurstSize: 1 });
    target.answer = (arrival, response) => {
      if (arrival.path === '/paced') response.end();
    };
    const dispatcher = await start();
    await bench.enqueue(...tasks(3, '/hangs').map((task) => ({ ...task, queue: full })));
    await bench.enqueue(...tasks(21, '/paced').map((task) => ({ ...task, queue: paced })));
    dispatcher.lookNow();
    await finished(21);
    const atMs = target.arrivals.filter(({ path }) => path === '/paced').map((a) => a.atMs);
    const tookMs = atMs.at(-1)! - atMs[0]!;
    // 20 gaps of 50 ms; by the looks alone they would be 300 ms each.
    expect(tookMs).toBeGreaterThan(950);
    expect(tookMs).toBeLessThan(3_000);
  });

  test('slots are shared: a long queue does not keep a short one waiting', async () => {
    const long = await putOnShard0('long', {});
    const short = await putOnShard0('short', {});
    target.answer = (_, response) => void setTimeout(() => response.end(), 20);
    const dispatcher = await start();
    await bench.enqueue(...tasks(200, '/long').map((task) => ({ ...task, queue: long })));
    dispatcher.lookNow();
    await target.arrived(CONCURRENCY);
    await bench.enqueue(...tasks(10, '/short').map((task) => ({ ...task, queue: short })));
    dispatcher.lookNow();
    await finished(210);
    const last = target.arrivals.findLastIndex(({ path }) => path === '/short');
    expect(last).toBeLessThan(140);
  });
});
