import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { createEnqueuer } from '../../src/api/task-enqueuer.ts';
import { type Database, openDatabase } from '../../src/store/database.ts';
import { createTestDatabase, type TestDatabase } from '../support/database.ts';
import { newTask } from '../support/new-task.ts';
import { startTcpProxy, type TcpProxy } from '../support/tcp-proxy.ts';

/** Of single tasks in flight together: two statements with 24 each, three of tasks with names. */
const IN_FLIGHT = 72;
const TASKS = 300;

let test: TestDatabase;
let proxy: TcpProxy;
let database: Database;

beforeEach(async () => {
  test = await createTestDatabase();
  proxy = await startTcpProxy(test.url);
  database = openDatabase({ url: proxy.url, connections: 8, timeoutMs: 500, name: 'test' });
  await createEnqueuer(database).one(newTask());
  proxy.loseAnswers();
});

afterEach(async () => {
  await database.close(100);
  await proxy.close();
  await test.drop();
});

const reasonOf = (result: Promise<unknown>) =>
  result.then(
    () => 'no failure',
    ({ code, message }) => (/those who came before/.test(message) ? `${code}, unsent` : code),
  );

describe('createEnqueuer() when the database does not answer', () => {
  it.each([
    ['plain', () => ({})],
    ['named', (index: number) => ({ name: `name-${index}` })],
  ])('sends nothing of what waits behind a statement that hung: %s tasks', async (_, fieldsOf) => {
    const { one } = createEnqueuer(database);
    const tasks = Array.from({ length: TASKS }, (__, index) => newTask(fieldsOf(index)));
    const reasons = await Promise.all(tasks.map((task) => reasonOf(one(task))));
    const unsent = reasons.filter((reason) => reason === 'database-unavailable, unsent');
    expect(unsent.length).toBeGreaterThanOrEqual(TASKS - IN_FLIGHT);
    for (const reason of reasons) expect(reason).toMatch(/^(database-unavailable|outcome-unknown)/);
  });

  it('gives up a request of many statements with the first, and those that wait behind it', async () => {
    const { all } = createEnqueuer(database);
    const request = Array.from({ length: 2_000 }, () => newTask());
    const reasons = await Promise.all([1, 2, 3, 4].map(() => reasonOf(all(request))));
    expect(reasons.slice(2)).toEqual(Array(2).fill('database-unavailable, unsent'));
    for (const reason of reasons) expect(reason).toMatch(/^(database-unavailable|outcome-unknown)/);
  });
});
