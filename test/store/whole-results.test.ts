import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { type Database, openDatabase, type Sql } from '../../src/store/database.ts';
import { createTestDatabase, type TestDatabase } from '../support/database.ts';
import { startTcpProxy, type TcpProxy } from '../support/tcp-proxy.ts';

/** Between the first rows of a large result and its last. */
const MIDDLE_BYTES = 40_000;

let test: TestDatabase;
let proxy: TcpProxy;
let database: Database;

beforeAll(async () => {
  test = await createTestDatabase();
});

afterAll(() => test.drop());

beforeEach(async () => {
  proxy = await startTcpProxy(test.url);
  database = openDatabase({ url: proxy.url, connections: 1, name: 'test' });
});

afterEach(async () => {
  await database.close(100);
  await proxy.close();
});

const many = (sql: Sql) => sql`select i, repeat('x', 100) as text from generate_series(1, 1000) i`;

describe('a connection that was lost in the middle of a result', () => {
  it('gives the next statement its own rows alone', async () => {
    expect(await database.run(many)).toHaveLength(1_000);
    proxy.cutAnswerAfter(MIDDLE_BYTES);
    await expect(database.run(many)).rejects.toMatchObject({ code: 'outcome-unknown' });
    const rows = await database.run((sql) => sql`select i from generate_series(1, 3) i`);
    expect([...rows]).toEqual([{ i: 1 }, { i: 2 }, { i: 3 }]);
    expect(await database.run(many)).toHaveLength(1_000);
  });

  it('gives the next statement without rows its count', async () => {
    await database.run(many);
    proxy.cutAnswerAfter(MIDDLE_BYTES);
    await database.run(many).catch(() => {});
    const result = await database.run(
      (sql) => sql`update errand.queue set version = version where name = 'default'`,
    );
    expect([result.length, result.count]).toEqual([0, 1]);
  });
});
