/**
 * Promise 10: speed does not depend on how much history, backlog or delayed work there is. The verbs
 * run against a large database while auto_explain hands over the plans they really ran by.
 */
import type { Sql } from 'postgres';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { findNextHeads, findWork } from '../../src/store/find-work.ts';
import { purgeBatch } from '../../src/store/housekeeping.ts';
import { parkTasks } from '../../src/store/park.ts';
import { parkAhead } from '../../src/store/park-ahead.ts';
import { createPartitions } from '../../src/store/partitions.ts';
import { promoteDue } from '../../src/store/promote.ts';
import { releaseTasks } from '../../src/store/release.ts';
import { settleTasks } from '../../src/store/settle.ts';
import { createTestDatabase, type TestDatabase } from '../support/database.ts';
import {
  claim,
  claimant,
  claimParked,
  continueWith,
  createOwner,
  createQueue,
  type Owner,
  queueClaim,
  retryIn,
  settlementOf,
  type TestQueue,
} from './lease-fixture.ts';
import { accesses, openSession, type Session } from './planned-session.ts';
import { FAIL, SUCCEED } from './task-fixture.ts';

const RANKS = [-5, 0, 5, 9];
const BACKLOG = 100_000;
const BATCH = 50;
/** Rows that a verb may read of one table for each task it moves. */
const READS_PER_TASK = 4;
/** Of the verbs that take tasks out of a room, each by the place where it found them. */
const TAKES_FROM: Partial<Record<keyof typeof VERBS, string[]>> = {
  claim: ['ready'],
  claimParked: ['parked'],
  parkAhead: ['ready'],
  promote: ['scheduled'],
  purge: ['ready', 'parked', 'scheduled'],
};

let database: TestDatabase;
let owner: Owner;
let queues: TestQueue[];
/** Its shard is its own, for a purge walks what is scheduled there. */
let purged: TestQueue;
/** Its statements were planned while everything was empty, as those of a dispatcher that started so. */
let early: Session;
let custom: Session;
/** Postgres has chosen for itself between plans for these parameters and for any. */
let seasoned: Session;

beforeAll(async () => {
  database = await createTestDatabase();
  [early, custom, seasoned] = (await Promise.all(
    ['force_generic_plan', 'force_custom_plan', 'auto'].map((mode) =>
      openSession(database.url, mode),
    ),
  )) as [Session, Session, Session];
  await createPartitions(custom.sql);
  owner = await createOwner(custom.sql);
  queues = await Promise.all([1, 2, 3, 4, 5].map(() => createQueue(custom.sql)));
  purged = await createQueue(custom.sql, { shard: 7 });
  await analyze();
  for (const verb of Object.values(VERBS)) await verb(early.sql);
  await fillDatabase(custom.sql);
});

afterAll(async () => {
  for (const session of [early, custom, seasoned]) await session?.sql.end({ timeout: 1 });
  await database?.drop();
});

/** What vacuum has seen empty, the planner takes for empty for a while. */
async function analyze(): Promise<void> {
  for (const table of ['ready', 'parked', 'scheduled', 'lease', 'task', 'finished', 'attempt']) {
    await custom.sql.unsafe(`vacuum (analyze, truncate) errand.${table}`);
  }
}

/** As where a room was emptied a moment ago, and an old transaction keeps its pages: no rows, in many pages. */
async function mislead(): Promise<void> {
  await custom.sql`
    update pg_class set reltuples = 0 where relnamespace = 'errand'::regnamespace and relkind = 'r'
      and relname ~ '^(ready|parked|scheduled|lease)'`;
  await custom.sql`
    delete from pg_statistic where starelid in (select oid from pg_class where
      relnamespace = 'errand'::regnamespace and relname ~ '^(ready|parked|scheduled|lease)')`;
}

/** It does so at the sixth time. */
async function season(): Promise<void> {
  for (let time = 1; time <= 8; time += 1) {
    for (const verb of Object.values(VERBS)) await verb(seasoned.sql);
  }
}

/** A backlog in five queues of four ranks, as much again for later, and as much history. */
async function fillDatabase(sql: Sql): Promise<void> {
  const ids = queues.map(({ queue }) => queue).join(',');
  await sql.unsafe(`
    create temp table made as
      select i, errand.task_id(now() - i * interval '20 milliseconds', 0, gen_random_uuid()) as id,
        (array[${ids}])[1 + i % 5] as queue, (array[${RANKS.join(',')}])[1 + i / 5 % 4] as rank
      from generate_series(1, ${BACKLOG * 3}) i;
    insert into errand.task (shard, id, step, queue, rank, url, method, body, flow_key, scheduled_at,
        created_at)
      select 0, id, 0, queue, rank, 'http://127.0.0.1:9/', 'POST', 'payload', 'key ' || i / 5 % 1000, now(),
        now() from made;
    insert into errand.ready (shard, queue, rank, seq, task, step, attempt, due_at)
      select 0, queue, rank, nextval('errand.task_seq'), id, 0, 0, now() from made
      where i <= ${BACKLOG};
    insert into errand.parked (shard, queue, flow_key, rank, seq, task, step, attempt, due_at)
      select 0, queue, 'key ' || i / 5 % 1000, rank, nextval('errand.task_seq'), id, 0, 0, now() from made
      where i > ${BACKLOG * 2} and i <= ${BACKLOG * 3};
    insert into errand.scheduled (shard, due_at, task, step, queue, rank, attempt)
      select 0, now() + i * interval '1 second', id, 0, queue, rank, 0 from made
      where i > ${BACKLOG} and i <= ${BACKLOG * 2};
    insert into errand.finished (shard, task, queue, state, step, attempt, finished_at, retained_until)
      select 0, id, queue, 'succeeded', 0, 1, now(), now() + interval '7 days' from made
      where i > ${BACKLOG * 2};
    insert into errand.attempt (shard, task, lease_id, step, attempt, dispatcher, outcome, settlement,
        started_at, finished_at, duration_ms)
      select 0, id, gen_random_uuid(), 0, 1, 1, 'responded', 'succeed', now(), now(), 1 from made
      where i > ${BACKLOG * 2};
    insert into errand.scheduled (shard, due_at, task, step, queue, rank, attempt)
      select 1, now() - i * interval '1 second', id, 0, queue, rank, 0 from made where i <= 5000`);
  await fillPurged(sql);
  for (let taken = 0; taken < 3_000; taken += 1_000) await claimSome(sql, 200, 1_000_000 + taken);
}

/** Tasks of a queue that was purged after they came, in every room where they wait. */
async function fillPurged(sql: Sql): Promise<void> {
  const { queue, shard } = purged;
  const what = (kind: number) => `from old where i % 3 = ${kind}`;
  await sql.unsafe(`
    create temp table old as
      select i, errand.task_id(now() - i * interval '20 ms', ${shard}, gen_random_uuid()) as id
      from generate_series(1, 20000) i;
    insert into errand.task (shard, id, step, queue, rank, url, method, body, scheduled_at, created_at)
      select ${shard}, id, 0, ${queue}, 0, 'http://127.0.0.1:9/', 'POST', '', now(), now() from old;
    insert into errand.ready (shard, queue, rank, seq, task, step, attempt, due_at)
      select ${shard}, ${queue}, 0, i, id, 0, 0, now() ${what(0)};
    insert into errand.parked (shard, queue, flow_key, rank, seq, task, step, attempt, due_at)
      select ${shard}, ${queue}, 'key', 0, i, id, 0, 0, now() ${what(1)};
    insert into errand.scheduled (shard, due_at, task, step, queue, rank, attempt)
      select ${shard}, now() + interval '1 hour', id, 0, ${queue}, 0, 0 ${what(2)};
    update errand.queue set is_purging = true, purged_before = 'ffffffff-ffff-ffff-ffff-ffffffffffff'
      where id = ${queue}`);
}

const cursors = RANKS.map((rank) => ({ rank, afterSeq: '0' }));

function claimSome(sql: Sql, limit: number, claimNumber: number) {
  const of = queues.map((queue) => queueClaim(queue, { limit, cursors }));
  return claim(sql, owner, of, { claim: claimNumber });
}

const VERBS = {
  async claim(sql: Sql) {
    await claimSome(sql, BATCH / 5, 1);
  },
  async settle(sql: Sql) {
    const tasks = await claimSome(sql, BATCH / 5, 2);
    const decisions = [SUCCEED, FAIL, retryIn(60), continueWith('next')];
    const settlements = tasks.map((task, index) => {
      return settlementOf(task, decisions[index % 4]!, { name: 'named' });
    });
    await settleTasks(sql, 0, settlements);
  },
  async release(sql: Sql) {
    await releaseTasks(sql, 0, await claimSome(sql, BATCH / 5, 3));
  },
  async park(sql: Sql) {
    await parkTasks(sql, 0, await claimSome(sql, BATCH / 5, 4));
  },
  async parkAhead(sql: Sql) {
    const keys = Array.from({ length: 1000 }, (_, i) => `key ${i}`);
    const input = {
      ...claimant(owner),
      queue: queues[0]!.queue,
      cursors,
      limit: Math.ceil(BATCH / 5),
    };
    await parkAhead(sql, { ...input, flowKeys: keys });
  },
  async claimParked(sql: Sql) {
    const keys = Array.from({ length: BATCH / 5 }, (_, i) => [`key ${i}`, 5] as const);
    await claimParked(sql, owner, queues[0]!, Object.fromEntries(keys));
  },
  async promote(sql: Sql) {
    await promoteDue(sql, { shards: [0, 1, 2], limit: BATCH, fromSeconds: null });
    await promoteDue(sql, { shards: [0, 1, 2], limit: BATCH, fromSeconds: 5 });
  },
  async purge(sql: Sql) {
    await purgeBatch(sql, { ...purged, limit: Math.floor(BATCH / 3) });
  },
  async findWork(sql: Sql) {
    await findWork(sql, owner.pool, [0, 1, 2]);
  },
  async findNextHeads(sql: Sql) {
    const places = queues.flatMap(({ queue }) =>
      RANKS.map((rank) => ({ shard: 0, queue, rank, seq: '0' })),
    );
    await findNextHeads(sql, owner.pool, places);
  },
};

/** In this order: statistics renew the plans that were made without them. */
describe.each([
  ['while everything was empty', () => early, async () => {}],
  ['with its own parameters', () => custom, analyze],
  ['as a connection at work does', () => seasoned, season],
  ['by statistics that say that nothing waits', () => custom, mislead],
] as const)('planned %s', (_, session, prepare) => {
  beforeAll(prepare);

  it.each(Object.keys(VERBS) as (keyof typeof VERBS)[])(
    'promise 10: %s reads by index, and no more than it moves',
    async (name) => {
      session().plans.length = 0;
      await VERBS[name](session().sql);
      const read = accesses(session());
      expect(read.length).toBeGreaterThan(0);
      for (const access of read) {
        expect(access.how).toMatch(/^(Index|Index Only|Bitmap Heap|Tid) Scan$/);
        expect(access.rows).toBeLessThanOrEqual(BATCH * READS_PER_TASK);
      }
      for (const table of TAKES_FROM[name] ?? []) {
        expect(read).toContainEqual(expect.objectContaining({ table, how: 'Tid Scan' }));
      }
    },
  );

  it('claim does not, without its index', async () => {
    const { sql } = session();
    await sql`begin`;
    await sql`alter table errand.ready drop constraint ready_pkey`;
    await VERBS.claim(sql);
    await sql`rollback`;
    const most = Math.max(...accesses(session()).map(({ rows }) => rows));
    expect(most).toBeGreaterThan(BATCH * READS_PER_TASK);
  });
});
