import { afterEach, describe, expect, test } from 'vitest';
import { createEnqueuer } from '../../src/api/task-enqueuer.ts';
import { connect, openDatabase, type Sql } from '../../src/store/database.ts';
import { verifyRooms } from '../../src/store/verify.ts';
import { newTask } from '../support/new-task.ts';
import { stopAtIds } from '../support/stopped-ids.ts';
import { startTcpProxy, type TcpProxy } from '../support/tcp-proxy.ts';
import { until } from '../support/until.ts';
import {
  holdCalls,
  type ReservedBench,
  type ReservedOptions,
  startReservedBench,
} from './reserved-bench.ts';

/** Of those that a second dispatcher is given by the first. */
const SHARD = 40;

let bench: ReservedBench;
let sql: Sql;

async function start(options: ReservedOptions = {}): Promise<void> {
  bench = await startReservedBench(options);
  sql = connect({ url: bench.databaseUrl, connections: 3, name: 'fault' });
  await sql`update errand.queue set shard = ${SHARD} where id = 1`;
}

afterEach(async () => {
  const { problems } = await verifyRooms(sql);
  await sql.end({ timeout: 1 });
  await bench.close();
  expect(problems).toEqual([]);
});

const finished = (count: number) =>
  until(async () => (await bench.rows('finished')) === count, { what: `${count} finished tasks` });

async function owner(): Promise<{ dispatcher: number; epoch: string }> {
  const [row] = await sql<{ dispatcher: number; epoch: string }[]>`
    select dispatcher, epoch::text from errand.ownership where pool = 'default' and shard = ${SHARD}`;
  return row!;
}

async function attemptsOf(id: string) {
  return sql`select dispatcher, outcome, attempt from errand.attempt where task = ${id} order by attempt`;
}

describe('a reserved task whose statement is under way', () => {
  test('while another takes the shard is dispatched once, by the new owner', async () => {
    await start();
    await bench.warm();
    const ids = await stopAtIds(sql);
    const creating = bench.create('/one');
    await ids.reached();
    const before = await owner();
    await bench.startDispatcher();
    const now = await until(async () => {
      const found = await owner();
      const isOther = found.dispatcher !== null && found.dispatcher !== before.dispatcher;
      return isOther ? found : null;
    });
    await ids.end();
    const { status, body } = await creating;
    expect(status).toBe(201);
    await finished(2);
    expect(bench.target.arrivals).toHaveLength(2);
    expect(await attemptsOf(body.id)).toEqual([
      { dispatcher: now.dispatcher, outcome: 'responded', attempt: 1 },
    ]);
  });

  test('while its owner drains is waited for; called, it counts for the next owner', async () => {
    await start();
    await bench.limit({ maxConcurrentDispatches: 1 });
    await bench.warm();
    const answerAll = holdCalls(bench.target);
    const ids = await stopAtIds(sql);
    const creating = bench.create('/one');
    await ids.reached();
    let isDrained = false;
    const drained = bench.dispatcher.drain(20_000).then(() => {
      isDrained = true;
    });
    const heir = await bench.startDispatcher();
    expect(isDrained).toBe(false);
    expect(await bench.rows('lease')).toBe(0);
    await ids.end();
    expect((await creating).status).toBe(201);
    bench.dispatcher = heir;
    await bench.target.arrived(2);
    await bench.create('/two');
    await until(async () => (await owner()).dispatcher !== null);
    await until(async () => (await bench.rows('lease')) === 1);
    expect(bench.target.inFlight.now).toBe(1);
    answerAll();
    await drained;
    // Its looks are rare while the machine is busy, and it wants several.
    const isDone = async () => {
      heir.lookNow();
      return (await bench.rows('finished')) === 3;
    };
    await until(isDone, { what: '3 finished tasks' });
    expect(bench.target.inFlight.most).toBe(1);
    expect(bench.target.arrivals).toHaveLength(3);
  });

  test('while its process is frozen is not sent late, but given back unattempted', async () => {
    let frozenMs = 0;
    await start({ dispatcher: { monotonic: () => performance.now() + frozenMs } });
    await bench.warm();
    const answerAll = holdCalls(bench.target);
    const ids = await stopAtIds(sql);
    const creating = bench.create('/one');
    await ids.reached();
    frozenMs += 60_000;
    // It is certain of its shards again: the age of what it asked for is all that tells.
    await bench.dispatcher.resume();
    await ids.end();
    expect((await creating).status).toBe(201);
    const arrivals = await bench.target.arrived(2);
    expect(arrivals[1]!.headers['errand-attempt']).toBe('1');
    // By a claim after all: what was reserved has a negative number.
    expect((await bench.claims())[0]).toBeGreaterThan(0);
    answerAll();
    await finished(2);
    expect(bench.target.arrivals).toHaveLength(2);
  });
});

describe('a reserved task of unknown outcome', () => {
  let proxy: TcpProxy;

  const startProxied = () =>
    start({
      connections: 1,
      timeoutMs: 3_000,
      async proxied(url) {
        proxy = await startTcpProxy(url);
        return proxy.url;
      },
    });

  test('is found, given back and dispatched once; its token and its place are there again', async () => {
    await startProxied();
    // The first claim, the statement that is prepared, the one that is lost, and one more.
    await bench.limit({
      maxConcurrentDispatches: 1,
      maxDispatchesPerSecond: 0.001,
      maxBurstSize: 4,
    });
    await bench.warm();
    await bench.create('/prepared');
    await finished(2);
    await bench.untilWanted();
    const before = await owner();
    proxy.loseAnswers();
    const lost = await bench.create('/lost');
    expect(lost).toMatchObject({ status: 503, body: { code: 'outcome-unknown' } });
    proxy.mend();
    await finished(3);
    expect(BigInt((await owner()).epoch)).toBeGreaterThan(BigInt(before.epoch));
    await bench.untilWanted();
    expect((await bench.create('/next')).status).toBe(201);
    await finished(4);
    const paths = bench.target.arrivals.map(({ path }) => path);
    expect(paths).toEqual(['/warm', '/prepared', '/lost', '/next']);
    const attempts = await sql`select attempt, outcome from errand.attempt`;
    expect(new Set(attempts.map((row) => `${row.attempt} ${row.outcome}`))).toEqual(
      new Set(['1 responded']),
    );
    await proxy.close();
  });

  test('with many others leaves the shard as fit as before', async () => {
    await startProxied();
    await bench.warm();
    await bench.create('/prepared');
    await bench.untilWanted();
    proxy.loseAnswers();
    const requests = Array.from({ length: 40 }, (_, at) => bench.create(`/${at}`));
    const statuses = await Promise.all(requests.map(async (one) => (await one).status));
    expect(new Set(statuses)).toEqual(new Set([503]));
    proxy.mend();
    await until(async () => (await bench.rows('lease')) === 0 && (await bench.rows('ready')) === 0);
    await bench.untilWanted();
    const answerAll = holdCalls(bench.target);
    const before = bench.target.arrivals.length;
    expect((await bench.create('/next')).status).toBe(201);
    await bench.target.arrived(before + 1);
    expect((await bench.claims())[0]).toBeLessThan(0);
    answerAll();
    const sent = bench.target.arrivals.map(({ path }) => path);
    expect(new Set(sent).size).toBe(sent.length);
    await proxy.close();
  });

  test('does not keep a drain while the database is away', async () => {
    await start();
    const ofDispatcher = await startTcpProxy(bench.databaseUrl);
    const away = openDatabase({
      url: ofDispatcher.url,
      connections: 4,
      name: 'away',
      timeoutMs: 500,
    });
    await bench.dispatcher.drain(0);
    bench.dispatcher = await bench.startDispatcher({ database: away });
    await bench.warm();
    const task = { shard: SHARD, queue: 1, rank: 0, flowKey: null };
    const reservation = bench.dispatcher.reserve(task);
    ofDispatcher.cut();
    reservation!.lose();
    await bench.dispatcher.drain(0);
    await away.close(0);
    await ofDispatcher.close();
  });
});

test('a bad row of a batch fails alone, and every reservation of it is ended', async () => {
  await start();
  await bench.limit({ maxConcurrentDispatches: 12 });
  await bench.warm();
  const enqueuer = createEnqueuer(bench.database, bench.reserve);
  const answerAll = holdCalls(bench.target);
  const before = bench.reserved();
  const tasks = Array.from({ length: 12 }, (_, at) =>
    newTask({ shard: SHARD, url: at === 7 ? 'bad \u0000' : `${bench.target.url}/${at}` }),
  );
  const results = await Promise.allSettled(tasks.map((task) => enqueuer.one(task)));
  expect(results.flatMap(({ status }, at) => (status === 'rejected' ? [at] : []))).toEqual([7]);
  expect(bench.reserved() - before).toBe(12);
  // All places are there again: the eleven, which lie in ready or are called, and one more.
  bench.dispatcher.lookNow();
  await bench.target.arrived(1 + 11);
  await bench.create('/last');
  await bench.target.arrived(1 + 12);
  expect(bench.target.inFlight.now).toBe(12);
  answerAll();
  await finished(1 + 12);
});
