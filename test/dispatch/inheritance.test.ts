import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { createDatabaseClock } from '../../src/dispatch/database-clock.ts';
import { createInheritances, type Inheritances } from '../../src/dispatch/inheritance.ts';
import type { Owned } from '../../src/dispatch/ownership.ts';
import { createQueueState, type QueueState } from '../../src/dispatch/queue-state.ts';
import type { QueueRecord } from '../../src/model.ts';
import { type Database, openDatabase, type Sql } from '../../src/store/database.ts';
import { claim, createOwner, createQueue, fill, queueClaim } from '../store/lease-fixture.ts';
import { createTestDatabase, type TestDatabase } from '../support/database.ts';
import { queueRecord } from '../support/queue-record.ts';

/** The time of the take-over, by the database's clock. */
const TAKEN_MS = 100_000_000;
const LIMITS = { maxDispatchesPerSecond: 2, maxBurstSize: 10, maxConcurrentDispatches: 2 };

let schema: TestDatabase;
let database: Database;
let nowMs: number;
let shards: Map<number, Owned>;
let inheritances: Inheritances;

beforeAll(async () => {
  schema = await createTestDatabase();
  database = openDatabase({ url: schema.url, connections: 4, name: 'test' });
});

afterAll(async () => {
  await database.close();
  await schema.drop();
});

beforeEach(() => {
  nowMs = TAKEN_MS;
  shards = new Map();
  const clock = createDatabaseClock(() => nowMs);
  clock.set(new Date(TAKEN_MS), TAKEN_MS);
  inheritances = createInheritances({ database, clock, shards: () => shards });
});

function own(handover: Owned['handover'], epoch = '5'): void {
  shards.set(0, { epoch, takenAtMs: TAKEN_MS, handover });
}

const tokens = (fields = {}) => inheritances.of(queueRecord(fields, LIMITS))?.tokens;

describe('what a bucket begins with', () => {
  test('the level that was left, and what flowed in since', () => {
    own({ at: TAKEN_MS / 1000 - 1.5, levels: { 1: 0.5 } });
    expect(tokens()).toBeCloseTo(3.5);
    nowMs += 1_000;
    expect(tokens()).toBeCloseTo(5.5);
  });

  test('no more than its burst', () => {
    own({ at: TAKEN_MS / 1000 - 60, levels: { 1: 0.5 } });
    expect(tokens()).toBe(10);
  });

  test('empty at the take-over after a crash', () => {
    own(null);
    expect(tokens()).toBe(0);
    nowMs += 1_500;
    expect(tokens()).toBeCloseTo(3);
  });

  test('full when nobody has ever had it', () => {
    own({ at: 0, levels: { 2: 1 } });
    expect(tokens()).toBe(10);
  });

  test('of a queue that the owner before never met: empty when the one before that had crashed', () => {
    const at = TAKEN_MS / 1000;
    own({ at, since: at - 2, levels: {} });
    expect(tokens()).toBeCloseTo(4);
    expect(tokens({ createdAt: new Date(TAKEN_MS - 1_000) })).toBe(10);
  });

  test('of a queue that the owner before never met: what was left to that one', () => {
    const at = TAKEN_MS / 1000;
    own({ at, since: at - 60, levels: {}, older: { 1: { level: 0.5, at: at - 2 } } });
    expect(tokens()).toBeCloseTo(4.5);
  });

  test('full after a crash when the queue was made since', () => {
    own(null);
    expect(tokens({ createdAt: new Date(TAKEN_MS + 1) })).toBe(10);
  });

  test('empty when it came from another pool of late, whatever was left', () => {
    own({ at: TAKEN_MS / 1000, since: TAKEN_MS / 1000 - 3_600, levels: {} });
    expect(tokens({ poolChangedAt: new Date(TAKEN_MS - 1_000) })).toBe(0);
    expect(tokens({ poolChangedAt: new Date(TAKEN_MS - 3_700_000) })).toBe(10);
  });

  test('nothing is left of a queue on a shard that is not ours', () => {
    expect(inheritances.of(queueRecord())).toBeNull();
  });
});

describe('calls of the owner before', () => {
  /** Takes the shard over from an owner with so many leases of one queue; returns the queue. */
  async function takeOver(sql: Sql, leases: number): Promise<QueueRecord> {
    const owner = await createOwner(sql);
    const queue = await createQueue(sql);
    await fill(sql, queue, ...Array.from({ length: leases }, () => ({})));
    await claim(sql, owner, [queueClaim(queue)]);
    const epoch = String(BigInt(owner.epochs.get(0)!) + 1n);
    own(null, epoch);
    await inheritances.prepare([{ shard: 0, epoch }]);
    return queueRecord({ id: queue.queue }, LIMITS);
  }

  const meet = (record: QueueRecord) => createQueueState(record, 0, inheritances.of(record)!);

  test('count until they are settled', async () => {
    await database.run(async (sql) => {
      const record = await takeOver(sql, 2);
      const state = meet(record);
      expect(state.foreign).toBe(2);
      await sql`delete from errand.lease where task =
        (select task from errand.lease where queue = ${record.id} limit 1)`;
      await inheritances.refresh(() => [state]);
      expect(state.foreign).toBe(1);
      await sql`delete from errand.lease where queue = ${record.id}`;
      await inheritances.refresh(() => [state]);
      expect(state.foreign).toBe(0);
    });
  });

  test('are forgotten too by a queue that becomes known while they are counted', async () => {
    await database.run(async (sql) => {
      const record = await takeOver(sql, 2);
      await sql`delete from errand.lease where queue = ${record.id}`;
      const known: QueueState[] = [];
      const refreshed = inheritances.refresh(() => known);
      known.push(meet(record));
      expect(known[0]!.foreign).toBe(2);
      await refreshed;
      expect(known[0]!.foreign).toBe(0);
    });
  });
});
