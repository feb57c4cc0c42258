import { afterAll, beforeAll } from 'vitest';
import type { ClaimedTask, Decision, Settlement } from '../../src/model.ts';
import { claimTasks } from '../../src/store/claim.ts';
import { connect, type Sql } from '../../src/store/database.ts';
import { enqueueTasks, type NewTask } from '../../src/store/enqueue.ts';
import { enqueueNamedTasks } from '../../src/store/enqueue-named.ts';
import { takeShards } from '../../src/store/ownership.ts';
import { createPartitions } from '../../src/store/partitions.ts';
import { settleTasks } from '../../src/store/settle.ts';
import { createTestDatabase, type TestDatabase } from '../support/database.ts';
import { newTask } from '../support/new-task.ts';

export { newTask };

/** The queue `default`, as the migration makes it. */
export const QUEUE = { id: 1, shard: 0 };
const DISPATCHER = 1;
const EVERYTHING = { rank: 0, afterSeq: '0' };

/** A database for one file of tests; `sql` may be used from the first hook of the file's own on. */
export function useDatabase(connections = 4): { readonly sql: Sql } {
  let database: TestDatabase;
  let sql: Sql;
  beforeAll(async () => {
    database = await createTestDatabase();
    sql = connect({ url: database.url, connections, name: 'test' });
    await createPartitions(sql);
  });
  afterAll(async () => {
    await sql?.end({ timeout: 1 });
    await database?.drop();
  });
  return {
    get sql() {
      return sql;
    },
  };
}

/** Enqueues one task and returns its id. */
export async function enqueue(sql: Sql, overrides: Partial<NewTask> = {}): Promise<string> {
  const task = newTask(overrides);
  const isNamed = task.name !== null || task.idempotency !== null;
  const [result] = await (isNamed ? enqueueNamedTasks : enqueueTasks)(sql, [task]);
  if (result?.kind !== 'created') throw new Error(`The task was not created: ${result?.kind}`);
  return result.taskId;
}

/** Claims every ready task of the default queue, whatever its priority. */
export async function claimAll(sql: Sql): Promise<ClaimedTask[]> {
  await takeShards(sql, { pool: 'default', dispatcher: DISPATCHER, dead: [DISPATCHER], limit: 64 });
  const [owned] =
    await sql`select epoch from errand.ownership where pool = 'default' and shard = 0`;
  const [queue] = await sql`select version from errand.queue where id = ${QUEUE.id}`;
  const ranks = await sql`select distinct rank from errand.ready where queue = ${QUEUE.id}`;
  const { tasks } = await claimTasks(sql, {
    pool: 'default',
    shard: QUEUE.shard,
    dispatcher: DISPATCHER,
    epoch: owned!.epoch,
    claim: 1,
    leaseMarginSeconds: 10,
    queues: [
      {
        queue: QUEUE.id,
        version: Number(queue!.version),
        limit: 1000,
        dispatchDeadlineSeconds: 600,
        cursors: ranks.map(({ rank }) => ({ ...EVERYTHING, rank })),
      },
    ],
  });
  return tasks;
}

/** Settles a claimed task as if a worker had answered with this status. */
export async function settle(
  sql: Sql,
  task: ClaimedTask,
  decision: Decision,
  overrides: Partial<Settlement> = {},
): Promise<boolean> {
  const { leaseIds } = await settleTasks(sql, task.shard, [
    {
      shard: task.shard,
      taskId: task.taskId,
      leaseId: task.leaseId,
      queue: task.queue,
      step: task.step,
      attempt: task.attempt,
      name: task.name,
      retentionSeconds: task.retentionSeconds ?? 604_800,
      nameRetentionSeconds: 3_600,
      outcome: 'responded',
      status: decision.kind === 'succeed' ? 200 : 503,
      error: decision.kind === 'succeed' ? null : 'status 503',
      durationMs: 12,
      decision,
      ...overrides,
    },
  ]);
  return leaseIds.size === 1;
}

export const SUCCEED: Decision = { kind: 'succeed', output: null, progress: null };
export const FAIL: Decision = { kind: 'fail', reason: 'the worker said so', output: null };

/** Waits until another session waits for a lock in this database: then a race is set up. */
export async function untilSomeoneWaits(sql: Sql, count = 1): Promise<void> {
  for (;;) {
    const [row] = await sql`
      select count(*)::integer as waiting from pg_stat_activity
      where datname = current_database() and wait_event_type = 'Lock'
    `;
    if (row!.waiting >= count) return;
  }
}
