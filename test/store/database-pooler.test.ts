import { type AddressInfo, connect, createServer, type Socket } from 'node:net';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { type Database, openDatabase } from '../../src/store/database.ts';
import { createTestDatabase, type TestDatabase } from '../support/database.ts';

let test: TestDatabase;
let pooler: Awaited<ReturnType<typeof startPooler>>;
let database: Database;

beforeAll(async () => {
  test = await createTestDatabase();
});

afterAll(() => test.drop());

beforeEach(async () => {
  pooler = await startPooler(test.url);
  database = openDatabase({ url: pooler.url, connections: 8, name: 'test' });
});

afterEach(async () => {
  await database.close(100);
  await pooler.close();
});

/** Refuses, as PgBouncer does, whoever brings settings of a session. */
async function startPooler(databaseUrl: string) {
  const { hostname, port } = new URL(databaseUrl);
  const sockets = new Set<Socket>();
  let refused = 0;
  const server = createServer((client) => {
    sockets.add(client);
    client.on('error', () => {});
    client.once('data', (startup) => {
      if (startup.includes('enable_seqscan')) {
        refused += 1;
        return void client.end(refusal('unsupported startup parameter: enable_seqscan'));
      }
      const upstream = connect(Number(port), hostname);
      upstream.on('error', () => client.destroy());
      client.on('close', () => upstream.destroy());
      upstream.write(startup);
      client.pipe(upstream).pipe(client);
    });
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const url = new URL(databaseUrl);
  url.port = String((server.address() as AddressInfo).port);
  return {
    url: url.href,
    refused: () => refused,
    async close() {
      for (const socket of sockets) socket.destroy();
      await new Promise((resolve) => server.close(resolve));
    },
  };
}

/** An ErrorResponse of the protocol. */
function refusal(message: string): Buffer {
  const fields = Buffer.from(`SFATAL\0C08P01\0M${message}\0\0`);
  const head = Buffer.from([0x45, 0, 0, 0, 0]);
  head.writeInt32BE(fields.length + 4, 1);
  return Buffer.concat([head, fields]);
}

describe('openDatabase() behind a pooler that refuses settings of a session', () => {
  it('runs each of many statements that came at once, and each of them once', async () => {
    const all = numbers(30);
    const rows = await Promise.all(
      all.map((n) => database.run((sql) => sql`select ${n}::integer as n`)),
    );
    expect(rows.map(([row]) => row!.n)).toEqual(all);
    expect(pooler.refused()).toBeGreaterThan(0);
  });

  it('brings no settings any more once it was refused', async () => {
    await database.run((sql) => sql`select 1`);
    const before = pooler.refused();
    await Promise.all(numbers(20).map(() => database.run((sql) => sql`select pg_sleep(0.01)`)));
    expect(pooler.refused()).toBe(before);
  });

  it('keeps no prepared statement, which the next connection might not know', async () => {
    await database.run((sql) => sql`select ${1}::integer as n`);
    const rows = await database.run((sql) => sql`select name from pg_prepared_statements`);
    expect([...rows]).toEqual([]);
  });

  it('still says outcome-unknown of what was sent when its connection was lost', async () => {
    await database.run((sql) => sql`select 1`);
    const slow = database.run((sql) => sql`select pg_sleep(30)`, { timeoutMs: 100 });
    await expect(slow).rejects.toMatchObject({ code: 'outcome-unknown' });
  });
});

const numbers = (count: number) => Array.from({ length: count }, (_, index) => index);
