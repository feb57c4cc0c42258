import { afterAll, afterEach, beforeAll, beforeEach } from 'vitest';
import { createDatabaseClock } from '../../src/dispatch/database-clock.ts';
import { createOwnership, type Ownership } from '../../src/dispatch/ownership.ts';
import { SHARDS } from '../../src/model.ts';
import { type Database, openDatabase } from '../../src/store/database.ts';
import { beat, registerDispatcher, takeShards } from '../../src/store/ownership.ts';
import { createTestDatabase, type TestDatabase } from '../support/database.ts';
import { silentLog } from '../support/dispatcher.ts';
import { until } from '../support/until.ts';
import { openWatchedDatabase, type WatchedDatabase } from '../support/watched-database.ts';

interface OwnershipBench {
  schema: TestDatabase;
  database: Database;
  watched: WatchedDatabase;
  nowMs: number;
  ownership: Ownership;
  taken: number[];
}

/** Made anew before each test by `useOwnership`. */
export const bench = { nowMs: 0, taken: [] } as unknown as OwnershipBench;

/** The clock is turned by hand; only the pace of the beats is real: one every 20 ms. */
export const TAKEOVER_MS = 200;
export const DEAD_MS = 0.8 * TAKEOVER_MS;
export const CERTAIN_MS = 0.5 * TAKEOVER_MS;
export const POOL = 'default';

export const cleanups: (() => Promise<unknown>)[] = [];

/** A fresh ownership for each test of the file, on a database of its own. */
export function useOwnership(): void {
  beforeAll(async () => {
    bench.schema = await createTestDatabase();
    bench.database = openDatabase({ url: bench.schema.url, connections: 4, name: 'test' });
  });

  afterAll(async () => {
    await bench.database.close();
    await bench.schema.drop();
  });

  beforeEach(() => {
    bench.nowMs = 1_000_000;
    bench.taken = [];
    bench.watched = openWatchedDatabase(bench.schema.url);
    bench.ownership = create({ database: bench.watched });
  });

  afterEach(async () => {
    await bench.ownership.leave();
    await bench.watched.close();
    for (const cleanUp of cleanups.splice(0)) await cleanUp();
    await bench.database.run(
      (sql) => sql`update errand.ownership set dispatcher = null, handover = default`,
    );
    await bench.database.run((sql) => sql`delete from errand.dispatcher`);
  });
}

export function create(options: Partial<Parameters<typeof createOwnership>[0]>): Ownership {
  return createOwnership({
    database: bench.database,
    pool: POOL,
    host: 'test',
    pid: 1,
    takeoverMs: TAKEOVER_MS,
    isSole: false,
    clock: createDatabaseClock(() => bench.nowMs),
    monotonic: () => bench.nowMs,
    log: silentLog,
    prepare: async () => {},
    onTaken: (shards) => bench.taken.push(...shards),
    onHandOver: async (shards) =>
      shards.map((shard) => ({
        shard,
        left: { since: 0, levels: { [shard]: 1.5 }, older: {}, flows: {} },
      })),
    onLost: () => {},
    ...options,
  });
}

/** A dispatcher that holds every shard and beats only when told to. */
export async function registerOther(): Promise<number> {
  const other = await bench.database.run((sql) =>
    registerDispatcher(sql, { pool: POOL, host: 'other', pid: 2, takeoverMs: TAKEOVER_MS }),
  );
  await bench.database.run((sql) =>
    takeShards(sql, { pool: POOL, dispatcher: other, dead: [], limit: SHARDS }),
  );
  return other;
}

export const beatOf = (dispatcher: number) => bench.database.run((sql) => beat(sql, dispatcher));

export async function isRegistered(dispatcher: number): Promise<boolean> {
  return (await beatOf(-1)).dispatchers.some(({ id }) => id === dispatcher);
}

/** Resolves when a whole beat that began after now is done: two statements, and those under way. */
export async function nextBeat(): Promise<void> {
  const from = bench.watched.begun();
  await until(() => bench.watched.ended() >= from + 4, { what: 'the next beat' });
}

/** Turns the clock on in steps that are small enough for the observer to have been there all along. */
export async function passInBeats(ms: number, eachStep: () => Promise<unknown> = async () => {}) {
  const stepMs = TAKEOVER_MS / 5;
  for (let passed = 0; passed < ms; passed += stepMs) {
    bench.nowMs += Math.min(stepMs, ms - passed);
    await eachStep();
    await nextBeat();
  }
}
