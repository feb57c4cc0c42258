import type { Cleanup } from '../../examples/demo/cleanup.ts';
import { connect, type Sql } from '../../src/store/database.ts';
import type { Say } from '../statistics.ts';
import { CONTENT_TYPE, PAYLOAD, QUEUE } from '../work.ts';
import { createDays } from './days.ts';

/** Puts rows where tasks would have left them, by the hundred thousand. */
export interface Preload {
  /** Tasks that wait in the queue. */
  ready(tasks: number): Promise<void>;
  /** Tasks of the queue that are due in one to eight days. */
  scheduled(tasks: number): Promise<void>;
  /** Tasks that have succeeded at their first attempt in the last week. */
  finished(tasks: number): Promise<void>;
  /** Makes statistics and visibility maps those of a system that has been running. */
  settle(): Promise<void>;
}

const BATCH = 50_000;
const CONNECTIONS = 2;
const TELL_EVERY = 1_000_000;
const DAYS = 7;
/** Of this bench's connections alone: nothing is measured while they work. */
const SETTINGS = { synchronous_commit: 'off', work_mem: '256MB', jit: 'off' };

export function openPreload(
  { databaseUrl, url }: { databaseUrl: string; url: string },
  say: Say,
  cleanup: Cleanup,
): Preload {
  const options = { url: databaseUrl, connections: CONNECTIONS, name: 'bench preload' };
  const sql = connect(options, SETTINGS);
  cleanup.add(() => sql.end({ timeout: 1 }));

  /** `insert` takes how many, and which share of the whole lies before them and at their end. */
  async function inBatches(
    what: string,
    tasks: number,
    insert: (size: number, from: number, to: number) => PromiseLike<unknown>,
  ): Promise<void> {
    let begun = 0;
    let told = 0;
    const lane = async () => {
      while (begun < tasks) {
        const from = begun;
        begun = Math.min(tasks, begun + BATCH);
        await insert(begun - from, from / tasks, begun / tasks);
        if (begun - told >= TELL_EVERY) {
          told = begun;
          say(`  ${begun} of ${tasks} ${what}`);
        }
      }
    };
    await Promise.all(Array.from({ length: CONNECTIONS }, lane));
  }

  return {
    ready: (tasks) => inBatches('ready', tasks, (size) => insertReady(sql, url, size)),
    scheduled: (tasks) => inBatches('scheduled', tasks, (size) => insertScheduled(sql, url, size)),
    async finished(tasks) {
      await createDays(sql, DAYS);
      await inBatches('finished', tasks, (size, from, to) =>
        insertFinished(sql, url, { size, from, to }),
      );
    },
    async settle() {
      say('  vacuuming');
      await sql`vacuum (analyze)
        errand.task, errand.ready, errand.scheduled, errand.finished, errand.attempt`;
      await sql`checkpoint`;
    },
  };
}

/** Tasks of the queue that are made at `at`, and their cold rows. */
function coldRows(sql: Sql, url: string, size: number, at: ReturnType<Sql>) {
  return sql`
    fresh as materialized (
      select q.id as queue, q.shard, f.at, errand.task_id(f.at, q.shard, gen_random_uuid()) as id
      from errand.queue q, lateral (
        select ${at} as at from generate_series(1, ${size}::integer) n
      ) f
      where q.name = ${QUEUE}
    ),
    cold as (
      insert into errand.task (shard, id, step, queue, rank, url, method, content_type, body,
        scheduled_at, created_at)
      select shard, id, 0, queue, 0, ${url}, 'POST', ${CONTENT_TYPE}, ${Buffer.from(PAYLOAD)}, at, at
      from fresh
    )`;
}

function insertReady(sql: Sql, url: string, size: number) {
  return sql`
    with ${coldRows(sql, url, size, sql`clock_timestamp()`)}
    insert into errand.ready (shard, queue, rank, seq, task, step, attempt, due_at)
    select shard, queue, 0, nextval('errand.task_seq'), id, 0, 0, at from fresh`;
}

function insertScheduled(sql: Sql, url: string, size: number) {
  return sql`
    with ${coldRows(sql, url, size, sql`clock_timestamp()`)}
    insert into errand.scheduled (shard, due_at, task, step, queue, rank, attempt)
    select shard, at + interval '1 day' + random() * ${`${DAYS} days`}::interval, id, 0, queue, 0, 0
    from fresh`;
}

/** In the order of time, as they would have come. */
function insertFinished(
  sql: Sql,
  url: string,
  { size, from, to }: { size: number; from: number; to: number },
) {
  const week = sql`${`${DAYS} days`}::interval`;
  const share = sql`(${from}::float8 + n * ${(to - from) / size}::float8)`;
  return sql`
    with ${coldRows(sql, url, size, sql`now() - ${week} + ${share} * ${week} * 0.9999`)},
    ended as (
      insert into errand.finished (shard, task, queue, state, step, attempt, started_at, finished_at,
        last_status, retained_until)
      select shard, id, queue, 'succeeded', 0, 1, at, at, 200, at + ${week} + interval '1 day' from fresh
    )
    insert into errand.attempt (shard, task, lease_id, step, attempt, dispatcher, outcome, settlement,
      status, started_at, finished_at, duration_ms)
    select shard, id, gen_random_uuid(), 0, 1, 1, 'responded', 'succeed', 200, at, at, 5 from fresh`;
}
