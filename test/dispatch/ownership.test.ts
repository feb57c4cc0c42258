import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { createDatabaseClock } from '../../src/dispatch/database-clock.ts';
import { createOwnership, type Ownership } from '../../src/dispatch/ownership.ts';
import { SHARDS } from '../../src/model.ts';
import { type Database, openDatabase } from '../../src/store/database.ts';
import { beat, leave, registerDispatcher, takeShards } from '../../src/store/ownership.ts';
import { createTestDatabase, type TestDatabase } from '../support/database.ts';
import { silentLog } from '../support/dispatcher.ts';
import { startTcpProxy } from '../support/tcp-proxy.ts';
import { until } from '../support/until.ts';
import { openWatchedDatabase, type WatchedDatabase } from '../support/watched-database.ts';

/** The clock is turned by hand; only the pace of the beats is real: one every 40 ms. */
const TAKEOVER_MS = 200;
const POOL = 'default';

let schema: TestDatabase;
let database: Database;
let watched: WatchedDatabase;
let nowMs = 0;
let ownership: Ownership;
let taken: number[] = [];
const cleanups: (() => Promise<unknown>)[] = [];

beforeAll(async () => {
  schema = await createTestDatabase();
  database = openDatabase({ url: schema.url, connections: 4, name: 'test' });
});

afterAll(async () => {
  await database.close();
  await schema.drop();
});

beforeEach(() => {
  nowMs = 1_000_000;
  taken = [];
  watched = openWatchedDatabase(schema.url);
  ownership = create({ database: watched });
});

afterEach(async () => {
  await ownership.leave();
  await watched.close();
  for (const cleanUp of cleanups.splice(0)) await cleanUp();
  await database.run((sql) => sql`update errand.ownership set dispatcher = null`);
  await database.run((sql) => sql`delete from errand.dispatcher`);
});

function create(options: Partial<Parameters<typeof createOwnership>[0]>): Ownership {
  return createOwnership({
    database,
    pool: POOL,
    host: 'test',
    pid: 1,
    takeoverMs: TAKEOVER_MS,
    isSole: false,
    clock: createDatabaseClock(() => nowMs),
    monotonic: () => nowMs,
    log: silentLog,
    onTaken: (shards) => taken.push(...shards),
    ...options,
  });
}

/** A dispatcher that holds every shard and beats only when told to. */
async function registerOther(): Promise<number> {
  const other = await database.run((sql) =>
    registerDispatcher(sql, { pool: POOL, host: 'other', pid: 2 }),
  );
  await database.run((sql) =>
    takeShards(sql, { pool: POOL, dispatcher: other, dead: [], limit: SHARDS }),
  );
  return other;
}

const beatOf = (dispatcher: number) => database.run((sql) => beat(sql, dispatcher));

async function isRegistered(dispatcher: number): Promise<boolean> {
  return (await beatOf(-1)).dispatchers.some(({ id }) => id === dispatcher);
}

/** Resolves when a whole beat that began after now is done: two statements, and those under way. */
async function nextBeat(): Promise<void> {
  const from = watched.begun();
  await until(() => watched.ended() >= from + 4, { what: 'the next beat' });
}

/** Turns the clock on in steps that are small enough for the observer to have been there all along. */
async function passInBeats(ms: number, eachStep: () => Promise<unknown> = async () => {}) {
  const stepMs = TAKEOVER_MS / 5;
  for (let passed = 0; passed < ms; passed += stepMs) {
    nowMs += Math.min(stepMs, ms - passed);
    await eachStep();
    await nextBeat();
  }
}

describe('ownership', () => {
  test('takes every free shard at once, each with an epoch of its own', async () => {
    await ownership.start();
    expect([...ownership.shards().keys()].sort((a, b) => a - b)).toEqual([...Array(SHARDS).keys()]);
    expect(taken).toHaveLength(SHARDS);
    expect(ownership.isCertain()).toBe(true);
    const rows = await database.run(
      (sql) => sql<{ shard: number; epoch: string; dispatcher: number }[]>`
        select shard, epoch, dispatcher from errand.ownership where pool = ${POOL}`,
    );
    for (const { shard, epoch, dispatcher } of rows) {
      expect(ownership.shards().get(shard)).toBe(epoch);
      expect(dispatcher).toBe(ownership.dispatcher());
    }
  });

  test("takes another's shards only when its heartbeat stood still for takeoverMs", async () => {
    const other = await registerOther();
    await ownership.start();
    expect(ownership.shards().size).toBe(0);
    await passInBeats(TAKEOVER_MS - 1);
    expect(ownership.shards().size).toBe(0);
    expect(await isRegistered(other)).toBe(true);
    nowMs += 1;
    await until(() => ownership.shards().size === SHARDS);
    expect(await isRegistered(other)).toBe(false);
  });

  test('never takes from a dispatcher that beats', async () => {
    const other = await registerOther();
    await ownership.start();
    await passInBeats(5 * TAKEOVER_MS, () => beatOf(other));
    expect(ownership.shards().size).toBe(0);
    expect(await isRegistered(other)).toBe(true);
  });

  test('takes what another leaves at its next beat', async () => {
    const other = await registerOther();
    await ownership.start();
    await database.run((sql) => leave(sql, other));
    await until(() => ownership.shards().size === SHARDS);
    expect(nowMs).toBe(1_000_000);
  });

  test('takes the shards of a dispatcher whose row is gone', async () => {
    const other = await registerOther();
    await database.run((sql) => sql`delete from errand.dispatcher where id = ${other}`);
    await ownership.start();
    expect(ownership.shards().size).toBe(SHARDS);
  });

  test('isSole takes everything at once: what is registered was left behind', async () => {
    const other = await registerOther();
    const sole = create({ isSole: true });
    await sole.start();
    expect(sole.shards().size).toBe(SHARDS);
    expect(await isRegistered(other)).toBe(false);
    await sole.leave();
  });

  test('after an outage of the observer nobody is dead at once', async () => {
    const proxy = await startTcpProxy(schema.url);
    await watched.close();
    watched = openWatchedDatabase(proxy.url, 200);
    ownership = create({ database: watched });
    const other = await registerOther();
    await ownership.start();
    await passInBeats(TAKEOVER_MS / 2);
    proxy.cut();
    await nextBeat();
    nowMs += 10 * TAKEOVER_MS;
    proxy.mend();
    await until(() => ownership.isCertain(), { what: 'a beat after the outage' });
    await passInBeats(TAKEOVER_MS - 1);
    expect(await isRegistered(other)).toBe(true);
    nowMs += 1;
    await until(() => ownership.shards().size === SHARDS);
    cleanups.push(() => proxy.close());
  });

  test('a late answer does not count as time in which the other stood still', async () => {
    const other = await registerOther();
    await ownership.start();
    await passInBeats(TAKEOVER_MS * 0.9);
    const releaseBeat = watched.holdAnswers();
    const from = watched.begun();
    await until(() => watched.answered() > from, { what: 'a beat with a late answer' });
    nowMs += TAKEOVER_MS * 0.2;
    const releaseNext = watched.holdAnswers();
    releaseBeat();
    await until(() => watched.answered() > from + 1, { what: 'what follows from the beat' });
    expect(await isRegistered(other)).toBe(true);
    releaseNext();
  });

  test('certainty ends 6/10 of takeoverMs after the last beat was sent, before anyone takes over', async () => {
    await ownership.start();
    await nextBeat();
    const release = watched.holdAnswers();
    const from = watched.begun();
    await until(() => watched.begun() > from);
    nowMs += TAKEOVER_MS * 0.6 - 1;
    expect(ownership.isCertain()).toBe(true);
    nowMs += 1;
    expect(ownership.isCertain()).toBe(false);
    release();
  });

  test('a beat that is answered late makes certain from when it was sent, not from its answer', async () => {
    await ownership.start();
    await nextBeat();
    const release = watched.holdAnswers();
    const from = watched.begun();
    await until(() => watched.begun() > from);
    const sentMs = nowMs;
    nowMs += TAKEOVER_MS * 0.5;
    const ended = watched.ended();
    release();
    await until(() => watched.ended() > ended);
    expect(ownership.isCertain()).toBe(true);
    // Nothing later than this very beat was sent: the clock is ahead of the next one's timer.
    nowMs = sentMs + TAKEOVER_MS * 0.6;
    expect(ownership.isCertain()).toBe(false);
  });

  test('struck by another, it begins anew with another number and takes what is free', async () => {
    await ownership.start();
    const first = ownership.dispatcher();
    await database.run((sql) => sql`delete from errand.dispatcher where id = ${first}`);
    await until(() => ownership.dispatcher() !== first);
    await until(() => ownership.shards().size === SHARDS);
    expect(await isRegistered(ownership.dispatcher())).toBe(true);
  });

  test('struck while another took its shards, it owns nothing', async () => {
    await ownership.start();
    const first = ownership.dispatcher();
    await database.run((sql) => sql`delete from errand.dispatcher where id = ${first}`);
    const other = await database.run((sql) =>
      registerDispatcher(sql, { pool: POOL, host: 'other', pid: 2 }),
    );
    await database.run((sql) =>
      takeShards(sql, { pool: POOL, dispatcher: other, dead: [first], limit: SHARDS }),
    );
    await until(() => ownership.dispatcher() !== first);
    await nextBeat();
    expect(ownership.shards().size === 0 || !(await isRegistered(other))).toBe(true);
  });

  test('renew() raises the epoch of a shard of ours, and lets go of one that is not', async () => {
    await ownership.start();
    const before = BigInt(ownership.shards().get(7)!);
    await ownership.renew(7);
    expect(BigInt(ownership.shards().get(7)!)).toBe(before + 1n);
    await database.run((sql) => sql`update errand.ownership set dispatcher = -1 where shard = 8`);
    await ownership.renew(8);
    expect(ownership.shards().has(8)).toBe(false);
  });

  test('leave() frees every shard and strikes its row; from then on nothing is certain', async () => {
    await ownership.start();
    await ownership.leave();
    expect(ownership.isCertain()).toBe(false);
    expect(ownership.shards().size).toBe(0);
    expect(await isRegistered(ownership.dispatcher())).toBe(false);
    const [row] = await database.run(
      (sql) => sql`select count(dispatcher)::integer as owned from errand.ownership`,
    );
    expect(row).toEqual({ owned: 0 });
  });

  test('start() waits for a database that is away', async () => {
    const proxy = await startTcpProxy(schema.url);
    cleanups.push(() => proxy.close());
    proxy.cut();
    await watched.close();
    watched = openWatchedDatabase(proxy.url, 200);
    ownership = create({ database: watched });
    const started = ownership.start();
    await until(() => watched.ended() >= 1);
    proxy.mend();
    await started;
    expect(await isRegistered(ownership.dispatcher())).toBe(true);
  });

  test('goes on beating after an error that is not about the database being away', async () => {
    await ownership.start();
    const rename = (from: string, to: string) =>
      database.run((sql) => sql.unsafe(`alter table errand.${from} rename to ${to}`));
    await rename('dispatcher', 'renamed');
    const from = watched.begun();
    await until(() => watched.ended() >= from + 3, { what: 'beats that fail' });
    await rename('renamed', 'dispatcher');
    nowMs += TAKEOVER_MS;
    expect(ownership.isCertain()).toBe(false);
    await until(() => ownership.isCertain());
  });
});
