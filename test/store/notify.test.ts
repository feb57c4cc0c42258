import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { WakeUp } from '../../src/model.ts';
import { type Database, openDatabase } from '../../src/store/database.ts';
import { listenForWakeUps } from '../../src/store/listener.ts';
import { createNotifier } from '../../src/store/notify.ts';
import { createTestDatabase, type TestDatabase } from '../support/database.ts';
import { until } from '../support/until.ts';

let test: TestDatabase;
let database: Database;
let listener: { close(): Promise<void> };
let heard: WakeUp[][];
let gaps: number;

beforeEach(async () => {
  test = await createTestDatabase();
  database = openDatabase({ url: test.url, connections: 2, name: 'test' });
  heard = [];
  gaps = 0;
  listener = await listenForWakeUps({
    url: test.url,
    database,
    onHearing: () => {},
    onWakeUps: (wakeUps) => void heard.push(wakeUps),
    onGap: () => {
      gaps += 1;
    },
  });
});

afterEach(async () => {
  await listener.close();
  await database.close(100);
  await test.drop();
});

function wakeUp(fields: Partial<WakeUp> = {}): WakeUp {
  return { shard: 3, queue: 1, rank: 0, seq: '10', dueInSeconds: 0, ...fields };
}

describe('createNotifier()', () => {
  it('tells listeners what was enqueued', async () => {
    const news = [
      wakeUp({ rank: -7, seq: '9223372036854775807' }),
      wakeUp({ queue: 2, seq: null, dueInSeconds: 1.5 }),
    ];
    createNotifier(database)(news);
    await until(() => heard.length > 0);
    expect(heard).toEqual([news]);
  });

  it('tells of each task that ended by itself, whatever letters its key is in', async () => {
    const notify = createNotifier(database);
    const ended = (taskId: string, flowKey: string) =>
      wakeUp({ seq: null, ended: { taskId, flowKey } });
    notify([ended('1', 'a')]);
    notify([wakeUp({ seq: null }), ended('2', 'ü"'), ended('3', 'a'), ended('3', 'a')]);
    await until(() => heard.length === 2);
    expect(heard.flat()).toEqual([
      ended('1', 'a'),
      wakeUp({ seq: null }),
      ended('2', 'ü"'),
      ended('3', 'a'),
    ]);
    // In bytes it does not fit, in letters it would.
    notify(Array.from({ length: 30 }, (_, place) => ended(`${place}`, '€'.repeat(200))));
    await until(() => gaps > 0);
  });

  it('sends what piles up meanwhile together: the first place of each queue and rank', async () => {
    const notify = createNotifier(database);
    notify([wakeUp({ seq: '1' })]);
    for (const seq of ['12', '9', '100']) notify([wakeUp({ seq })]);
    for (const dueInSeconds of [5, 2, 8]) notify([wakeUp({ seq: null, dueInSeconds })]);
    notify([wakeUp({ rank: 1, seq: '50' })]);
    await until(() => heard.length === 2);
    expect(heard[0]).toEqual([wakeUp({ seq: '1' })]);
    expect(heard[1]).toEqual([
      wakeUp({ seq: '9' }),
      wakeUp({ seq: null, dueInSeconds: 2 }),
      wakeUp({ rank: 1, seq: '50' }),
    ]);
  });

  it('says "look at everything" when the news is more than fits', async () => {
    const before = gaps;
    const many = Array.from({ length: 1_000 }, (_, queue) => wakeUp({ queue }));
    createNotifier(database)(many);
    await until(() => gaps > before);
    expect(heard).toEqual([]);
  });

  it('goes on after a notification that failed', async () => {
    const away = openDatabase({ url: 'postgres://127.0.0.1:1/x', connections: 1, name: 'test' });
    let isAway = true;
    const run: Database['run'] = (verb, options) => (isAway ? away : database).run(verb, options);
    const notify = createNotifier({ ...database, run });
    notify([wakeUp({ seq: '1' })]);
    isAway = false;
    notify([wakeUp({ seq: '2' })]);
    await until(() => heard.length > 0);
    expect(heard).toEqual([[wakeUp({ seq: '2' })]]);
    await away.close(100);
  });
});
