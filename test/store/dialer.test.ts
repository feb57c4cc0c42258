import { once } from 'node:events';
import { type AddressInfo, connect, createServer, type Socket } from 'node:net';
import { TLSSocket } from 'node:tls';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { type Database, openDatabase, type Sql } from '../../src/store/database.ts';
import { createDialer } from '../../src/store/dialer.ts';
import { type Network, startNetwork } from '../chaos/network.ts';
import { createTestDatabase, type TestDatabase } from '../support/database.ts';
import { SELF_SIGNED } from '../support/self-signed.ts';
import { until } from '../support/until.ts';

const CONNECTIONS = 4;
const BOUND_MS = 300;
const NAME = 'dialer test';

let test: TestDatabase;
let network: Network;
let database: Database;

beforeAll(async () => {
  test = await createTestDatabase();
});

afterAll(() => test.drop());

beforeEach(async () => {
  network = await startNetwork(test.url);
  database = open(network.url);
});

afterEach(async () => {
  await database.close(100);
  await network.close();
});

function open(url: string): Database {
  return openDatabase({ url, connections: CONNECTIONS, timeoutMs: BOUND_MS, name: NAME });
}

const one = (sql: Sql) => sql`select 1 as one`;
const works = () =>
  database.run(one).then(
    () => true,
    () => false,
  );

/** Keeps every connection of the pool wanted for so long; returns what the statements came to. */
async function insist(ms: number): Promise<Set<string>> {
  const outcomes = new Set<string>();
  const endMs = performance.now() + ms;
  const knock = async () => {
    while (performance.now() < endMs) {
      await database.run(one).then(
        () => outcomes.add('no failure'),
        (error) => outcomes.add(error.code),
      );
    }
  };
  await Promise.all(Array.from({ length: 2 * CONNECTIONS }, knock));
  return outcomes;
}

describe('createDialer(): connections that are accepted and closed at once', () => {
  it('are tried a few times a second, however many statements wait for one', async () => {
    await database.run(one);
    network.change('accept-then-fin');
    const before = network.accepted();
    const startMs = performance.now();
    const outcomes = await insist(2_000);
    const seconds = (performance.now() - startMs) / 1_000;
    expect(outcomes).not.toContain('no failure');
    expect(network.accepted() - before).toBeLessThanOrEqual(2 * CONNECTIONS + 5 * seconds + 1);
  });

  it('fail the statement they were made for as database-unavailable', async () => {
    network.change('accept-then-fin');
    await expect(database.run(one)).rejects.toMatchObject({ code: 'database-unavailable' });
  });

  it('are forgotten when the database is back, and leave none behind', async () => {
    network.change('accept-then-fin');
    await insist(1_000);
    network.change('clear');
    await until(works);
    await insist(500);
    // What an ended pool left connecting would be there by now, and stay.
    const [row] = await database.run(
      (sql) => sql<{ sessions: number }[]>`
        select count(*)::integer as sessions from pg_stat_activity where application_name = ${NAME}`,
    );
    expect(row!.sessions).toBeLessThanOrEqual(CONNECTIONS);
  });
});

describe('createDialer(): a host that takes connections and is silent for ever', () => {
  it('holds no connection of a pool that was replaced', async () => {
    const held = new Set<Socket>();
    const silent = createServer({ allowHalfOpen: true }, (socket) => {
      held.add(socket);
      socket.on('error', () => {});
      socket.on('close', () => held.delete(socket));
      // As behind a black hole: its end of the connection is never closed.
      socket.resume();
    });
    await new Promise<void>((resolve) => silent.listen(0, '127.0.0.1', resolve));
    const { port } = silent.address() as AddressInfo;
    const lost = openDatabase({
      url: `postgres://127.0.0.1:${port}/x`,
      connections: CONNECTIONS,
      timeoutMs: 50,
      name: NAME,
    });
    for (let count = 0; count < 5; count += 1) {
      await expect(lost.run(one)).rejects.toMatchObject({ code: 'database-unavailable' });
    }
    await lost.close(10);
    // Our ends are closed, of which a peer hears when it writes; the driver alone would take 5 s.
    const areGone = () => {
      for (const socket of held) socket.write('?');
      return held.size === 0;
    };
    await until(areGone, { timeoutMs: 3_000, what: 'the end of every connection' });
    await new Promise((resolve) => silent.close(resolve));
  });
});

describe('createDialer(): several hosts', () => {
  it('goes on to the next, and stays with the one that lets it in', async () => {
    const { host, pathname, username, password } = new URL(network.url);
    const away = createServer((socket) => socket.resume().end());
    await new Promise<void>((resolve) => away.listen(0, '127.0.0.1', resolve));
    let refused = 0;
    away.on('connection', () => {
      refused += 1;
    });
    const { port } = away.address() as AddressInfo;
    const both = open(`postgres://${username}:${password}@127.0.0.1:${port},${host}${pathname}`);
    const reached = () =>
      both
        .run(one)
        .then(() => true)
        .catch(() => false);
    await until(reached);
    await until(() =>
      Promise.all(Array.from({ length: 20 }, reached)).then((all) => all.every(Boolean)),
    );
    const before = refused;
    await Promise.all(
      Array.from({ length: 20 }, () => both.run((sql) => sql`select pg_sleep(0.01)`)),
    );
    expect(refused).toBe(before);
    await both.close(100);
    await new Promise((resolve) => away.close(resolve));
  });
});

describe('createDialer(): a database that is reached by TLS', () => {
  it('runs statements, and others once a pool that hung was replaced', async () => {
    const server = await startTlsFront(test.url);
    const secure = open(`${server.url}?sslmode=require`);
    expect(await secure.run(one)).toEqual([{ one: 1 }]);
    const slow = secure.run((sql) => sql`select pg_sleep(30)`);
    await expect(slow).rejects.toMatchObject({ code: 'outcome-unknown' });
    await until(() => server.open() === 0, {
      timeoutMs: 3_000,
      what: 'the end of every connection',
    });
    expect(await secure.run(one)).toEqual([{ one: 1 }]);
    await secure.close(100);
    await server.close();
  });
});

/** Answers the request for TLS as Postgres does, and passes on what comes through it. */
async function startTlsFront(databaseUrl: string) {
  const { hostname, port } = new URL(databaseUrl);
  const clients = new Set<Socket>();
  const server = createServer((client) => {
    clients.add(client);
    client.on('close', () => clients.delete(client));
    client.on('error', () => {});
    client.once('data', () => {
      client.pause();
      client.write('S');
      const secure = new TLSSocket(client, { isServer: true, ...SELF_SIGNED });
      const database = connect(Number(port), hostname);
      for (const socket of [secure, database]) socket.on('error', () => {});
      secure.on('close', () => database.destroy());
      secure.pipe(database).pipe(secure);
    });
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const url = new URL(databaseUrl);
  url.port = String((server.address() as AddressInfo).port);
  return {
    url: url.href,
    open: () => clients.size,
    async close() {
      for (const client of clients) client.destroy();
      await new Promise((resolve) => server.close(resolve));
    },
  };
}

describe('createDialer(): connections that wait for their turn too long', () => {
  it('fail as database-unavailable, and are used again when the database is back', async () => {
    const patient = openDatabase({ url: network.url, connections: CONNECTIONS, name: NAME });
    network.change('cut');
    const knock = () => patient.run(one).catch((error) => error.code);
    for (let round = 0; round < 5; round += 1) {
      const outcomes = await Promise.all(Array.from({ length: 3 * CONNECTIONS }, knock));
      expect(new Set(outcomes)).toEqual(new Set(['database-unavailable']));
    }
    network.change('clear');
    const sleep = () =>
      patient.run((sql) => sql`select pg_backend_pid() as pid from pg_sleep(0.1)`);
    // Each of the connections works, not only one of them.
    const all = async () => {
      const rows = await Promise.all(Array.from({ length: CONNECTIONS }, sleep)).catch(() => []);
      return new Set(rows.map(([row]) => row!.pid)).size === CONNECTIONS;
    };
    await until(all);
    await patient.close(100);
  });
});

describe('createDialer(): a connection on which the driver sends nothing', () => {
  it('is told once it is open, and one on which it does is not', async () => {
    const { hostname, port } = new URL(network.url);
    const to = () => ({ host: [hostname], port: [Number(port)], path: false as const });
    const told: string[] = [];
    const dialer = createDialer({ connections: 2 });
    const lines = ['mute', 'talking'].map((name) => dialer.pool(() => void told.push(name)));
    const [, talking] = await Promise.all(lines.map((line) => line.socket(to())));
    // The request for TLS, which Postgres answers.
    talking!.write(Buffer.from([0, 0, 0, 8, 4, 210, 22, 47]));
    await once(talking!, 'data');
    await until(() => told.length > 0);
    for (const line of lines) line.hangUp();
    expect(told).toEqual(['mute']);
  });
});
