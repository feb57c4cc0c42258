import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { WakeUp } from '../../src/model.ts';
import { type Database, openDatabase } from '../../src/store/database.ts';
import { type Listener, listenForWakeUps } from '../../src/store/listener.ts';
import { createNotifier } from '../../src/store/notify.ts';
import { createTestDatabase, type TestDatabase } from '../support/database.ts';
import { startTcpProxy, type TcpProxy } from '../support/tcp-proxy.ts';
import { until } from '../support/until.ts';

let test: TestDatabase;
let proxy: TcpProxy;
let database: Database;
let listener: Listener;
let heard: WakeUp[][];
let gaps: number;
let hearing: boolean[];

beforeEach(async () => {
  test = await createTestDatabase();
  proxy = await startTcpProxy(test.url);
  database = openDatabase({ url: test.url, connections: 2, name: 'test' });
  heard = [];
  gaps = 0;
  hearing = [];
  listener = await listenForWakeUps({
    url: proxy.url,
    database,
    checkMs: 20,
    onWakeUps: (wakeUps) => void heard.push(wakeUps),
    onGap: () => {
      gaps += 1;
    },
    onHearing: (isHearing) => void hearing.push(isHearing),
  });
});

afterEach(async () => {
  await listener.close();
  await database.close(100);
  await proxy.close();
  await test.drop();
});

const WAKE_UP: WakeUp = { shard: 3, queue: 1, rank: 0, seq: '10', dueInSeconds: 0 };

const send = (payload: string) =>
  database.run((sql) => sql`select pg_notify('errand_wake', ${payload})`);

describe('listenForWakeUps()', () => {
  it('takes what it does not understand for "look at everything"', async () => {
    for (const payload of ['not json', '{"a":1}', '[1]', '*']) {
      const before = gaps;
      await send(payload);
      await until(() => gaps > before);
    }
    expect(heard).toEqual([]);
  });

  it('listens again after its connection was lost, and says that there was a gap', async () => {
    const before = gaps;
    await database.run(
      (sql) => sql`select pg_terminate_backend(pid) from pg_stat_activity
        where application_name = 'errand listen' and datname = current_database()`,
    );
    await until(() => gaps > before);
    createNotifier(database)([WAKE_UP]);
    await until(() => heard.length > 0);
    expect(heard).toEqual([[WAKE_UP]]);
  });

  it('says once that nothing arrives any more, and hears again when something does', async () => {
    // As behind a pooler in transaction mode, or on a half-open connection: what is sent is taken.
    proxy.loseAnswers();
    await until(() => hearing.length > 0);
    const before = gaps;
    proxy.mend();
    await until(() => hearing.length > 1);
    expect(hearing).toEqual([false, true]);
    expect(gaps).toBeGreaterThan(before);
    createNotifier(database)([WAKE_UP]);
    await until(() => heard.length > 0);
    expect(heard).toEqual([[WAKE_UP]]);
  });
});
