import { afterEach, beforeEach, expect, test } from 'vitest';
import { DEFAULT_FLOW_LIMITS } from '../../src/model.ts';
import { connect, type Database, openDatabase, type Sql } from '../../src/store/database.ts';
import { putQueue } from '../../src/store/queue-change.ts';
import { verifyRooms } from '../../src/store/verify.ts';
import { type Bench, startBench } from '../support/dispatcher.ts';
import { startTarget, type Target } from '../support/target.ts';
import { startTcpProxy, type TcpProxy } from '../support/tcp-proxy.ts';
import { until } from '../support/until.ts';

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
  const settings = { flow: { ...DEFAULT_FLOW_LIMITS, ordered: true } };
  await bench.database.run((sql) =>
    putQueue(sql, { project: 'default', name: 'default', settings }),
  );
});

afterEach(async () => {
  proxy.mend();
  expect((await bench.database.run(verifyRooms)).problems).toEqual([]);
  await bench.close();
  await Promise.all([faulty.close(), blocker.end()]);
  await proxy.close();
  await target.close();
});

const count = async (table: 'parked' | 'finished') => {
  const [row] = await bench.database.run(
    (sql) => sql`select count(*)::integer as rows from ${sql(`errand.${table}`)}`,
  );
  return row!.rows;
};

const finished = (rows: number) =>
  until(async () => (await count('finished')) === rows, { timeoutMs: 20_000, what: 'the end' });

const tasks = (length: number) =>
  Array.from({ length }, (_, place) => ({ url: `${target.url}/${place}`, flowKey: 'a' }));

const paths = () => target.arrivals.map(({ path }) => path);
const inOrder = (length: number) => Array.from({ length }, (_, place) => `/${place}`);

/** Holds the first call until the others of its key are parked; `end` lets it end. */
async function parkBehindFirst(length: number): Promise<{ end: () => void }> {
  let end = () => {};
  target.answer = (_, response) => {
    end = () => response.end();
  };
  const dispatcher = await bench.startDispatcher({ database: faulty });
  await bench.enqueue(...tasks(length));
  dispatcher.lookNow();
  await until(async () => (await count('parked')) === length - 1, { what: 'the parked' });
  target.answer = (_, response) => void response.end();
  return { end };
}

test('a claim from parked whose answer was lost is parked again: in order, and once each', async () => {
  const first = await parkBehindFirst(6);
  await blocker.begin(async (transaction) => {
    await transaction`select from errand.ownership where shard = 0 for update`;
    first.end();
    await until(
      async () =>
        (
          await bench.database.run(
            (sql) => sql`select from pg_stat_activity
            where datname = current_database() and wait_event_type = 'Lock' and query like '%errand.parked%'`,
          )
        ).length > 0,
      { what: 'a claim that waits' },
    );
    proxy.loseAnswers();
  });
  await until(async () => (await count('parked')) === 4, { what: 'a claim without an answer' });
  proxy.mend();
  await finished(6);
  expect(paths()).toEqual(inOrder(6));
});

test('a dispatcher that dies with parked tasks loses none: its successor calls them in order', async () => {
  const first = await parkBehindFirst(6);
  proxy.cut();
  // As if it had been struck: its lease is settled as lost, and the first task comes again.
  await bench.database.run((sql) => sql`delete from errand.dispatcher`);
  await bench.startDispatcher();
  await finished(6);
  first.end();
  proxy.mend();
  expect(paths()).toEqual(['/0', ...inOrder(6)]);
});
