import { type AddressInfo, connect, createServer, type Socket } from 'node:net';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { type Database, openDatabase, type Sql } from '../../src/store/database.ts';
import { createTestDatabase, type TestDatabase } from '../support/database.ts';

/** Between the first rows of a large result and its last. */
const CUT_AFTER_BYTES = 40_000;

let test: TestDatabase;
let proxy: CuttingProxy;
let database: Database;

beforeAll(async () => {
  test = await createTestDatabase();
});

afterAll(() => test.drop());

beforeEach(async () => {
  proxy = await startCuttingProxy(test.url);
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
    proxy.cutNext();
    await expect(database.run(many)).rejects.toMatchObject({ code: 'outcome-unknown' });
    const rows = await database.run((sql) => sql`select i from generate_series(1, 3) i`);
    expect([...rows]).toEqual([{ i: 1 }, { i: 2 }, { i: 3 }]);
    expect(await database.run(many)).toHaveLength(1_000);
  });

  it('gives the next statement without rows its count', async () => {
    await database.run(many);
    proxy.cutNext();
    await database.run(many).catch(() => {});
    const result = await database.run(
      (sql) => sql`update errand.queue set version = version where name = 'default'`,
    );
    expect([result.length, result.count]).toEqual([0, 1]);
  });
});

interface CuttingProxy {
  url: string;
  /** The next answers end after some rows, and their connection with them. */
  cutNext(): void;
  close(): Promise<void>;
}

async function startCuttingProxy(databaseUrl: string): Promise<CuttingProxy> {
  const url = new URL(databaseUrl);
  const destination = { host: url.hostname, port: Number(url.port) };
  const sockets = new Set<Socket>();
  let left = Number.POSITIVE_INFINITY;
  const server = createServer((client) => {
    const upstream = connect(destination);
    for (const socket of [client, upstream]) {
      sockets.add(socket);
      socket.on('error', () => {});
      socket.on('close', () => {
        client.destroy();
        upstream.destroy();
      });
    }
    client.on('data', (chunk) => upstream.write(chunk));
    upstream.on('data', (chunk) => {
      const passed = chunk.subarray(0, left);
      left -= passed.length;
      if (left > 0) return client.write(passed);
      left = Number.POSITIVE_INFINITY;
      return client.end(passed);
    });
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  url.hostname = '127.0.0.1';
  url.port = String((server.address() as AddressInfo).port);
  return {
    url: url.href,
    cutNext() {
      left = CUT_AFTER_BYTES;
    },
    async close() {
      for (const socket of sockets) socket.destroy();
      await new Promise((resolve) => server.close(resolve));
    },
  };
}
