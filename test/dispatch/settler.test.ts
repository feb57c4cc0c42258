import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest';
import { createSettler } from '../../src/dispatch/settler.ts';
import type { ClaimedTask, Settlement } from '../../src/model.ts';
import { claimTasks } from '../../src/store/claim.ts';
import { connect, type Sql } from '../../src/store/database.ts';
import { enqueueTasks } from '../../src/store/enqueue.ts';
import { registerDispatcher, takeShards } from '../../src/store/ownership.ts';
import { createTestDatabase, type TestDatabase } from '../support/database.ts';
import { silentLog } from '../support/dispatcher.ts';
import { newTask } from '../support/new-task.ts';
import { startTcpProxy, type TcpProxy } from '../support/tcp-proxy.ts';
import { until } from '../support/until.ts';
import { openWatchedDatabase, type WatchedDatabase } from '../support/watched-database.ts';

let schema: TestDatabase;
let proxy: TcpProxy;
let sql: Sql;
let watched: WatchedDatabase;
let dispatcher: number;
let epochs: Map<number, string>;
let wakeUps: unknown[] = [];

beforeAll(async () => {
  schema = await createTestDatabase();
  proxy = await startTcpProxy(schema.url);
  sql = connect({ url: schema.url, connections: 4, name: 'test' });
  watched = openWatchedDatabase(proxy.url, 300);
  dispatcher = await registerDispatcher(sql, { pool: 'default', host: 'test', pid: 1 });
  const taken = await takeShards(sql, { pool: 'default', dispatcher, dead: [], limit: 64 });
  epochs = new Map(taken.map(({ shard, epoch }) => [shard, epoch]));
});

afterAll(async () => {
  await watched.close();
  await proxy.close();
  await sql.end();
  await schema.drop();
});

afterEach(() => {
  wakeUps = [];
  proxy.mend();
});

function create() {
  return createSettler({
    database: watched,
    log: silentLog,
    onWakeUps: (more) => wakeUps.push(...more),
  });
}

async function claim(count: number): Promise<ClaimedTask[]> {
  await enqueueTasks(
    sql,
    Array.from({ length: count }, () => newTask()),
  );
  const { tasks } = await claimTasks(sql, {
    pool: 'default',
    shard: 0,
    dispatcher,
    epoch: epochs.get(0)!,
    claim: 1,
    leaseMarginSeconds: 15,
    queues: [
      {
        queue: 1,
        version: 1,
        limit: count,
        dispatchDeadlineSeconds: 600,
        cursors: [{ rank: 0, afterSeq: '0' }],
      },
    ],
  });
  return tasks;
}

function settlementOf(task: ClaimedTask, fields: Partial<Settlement> = {}): Settlement {
  return {
    shard: task.shard,
    taskId: task.taskId,
    leaseId: task.leaseId,
    queue: task.queue,
    step: task.step,
    attempt: task.attempt,
    name: task.name,
    retentionSeconds: 3_600,
    nameRetentionSeconds: 3_600,
    outcome: 'responded',
    status: 200,
    error: null,
    durationMs: 1,
    decision: { kind: 'succeed', output: null, progress: null },
    ...fields,
  };
}

async function waitingStatements(): Promise<number> {
  const [row] = await sql`select count(*)::integer as statements from pg_stat_activity
    where datname = current_database() and wait_event_type = 'Lock'`;
  return row!.statements;
}

function attemptsOf(task: ClaimedTask) {
  return sql<{ settlement: string }[]>`
    select settlement from errand.attempt where task = ${task.taskId} order by attempt`;
}

describe('settle()', () => {
  test('writes at once when idle, and what gathers behind a statement in flight together', async () => {
    const settler = create();
    const tasks = await claim(250);
    const from = watched.begun();
    const done = tasks.map((task) => settler.settle(settlementOf(task)));
    expect(settler.pending()).toBe(250);
    expect(new Set(await Promise.all(done))).toEqual(new Set([true]));
    expect(watched.begun() - from).toBe(2);
    expect(settler.pending()).toBe(0);
  });

  test('writes the shards in statements of their own, side by side', async () => {
    const settler = create();
    const from = watched.begun();
    const [task] = await claim(1);
    const done = [0, 1, 2].map((shard) => settler.settle(settlementOf({ ...task!, shard })));
    expect(await Promise.all(done)).toEqual([true, false, false]);
    expect(watched.begun() - from).toBe(3);
  });

  test('is false when the lease was lost, and settles nothing then', async () => {
    const [task] = await claim(1);
    await sql`update errand.lease set lease_id = gen_random_uuid() where task = ${task!.taskId}`;
    expect(await create().settle(settlementOf(task!))).toBe(false);
    expect(await attemptsOf(task!)).toEqual([]);
  });

  test('tells what became of retries, for them to be promoted in time', async () => {
    const [task] = await claim(1);
    const decision = { kind: 'retry', delaySeconds: 7 } as const;
    await create().settle(settlementOf(task!, { status: 500, decision }));
    expect(wakeUps).toEqual([{ shard: 0, queue: 1, rank: 0, seq: null, dueInSeconds: 7 }]);
  });

  test('goes on trying while the database is away, and writes each once', async () => {
    const settler = create();
    const tasks = await claim(20);
    proxy.cut();
    const done = tasks.map((task) => settler.settle(settlementOf(task)));
    const from = watched.ended();
    await until(() => watched.ended() >= from + 2, { what: 'two failures' });
    expect(settler.pending()).toBe(20);
    proxy.mend();
    expect(new Set(await Promise.all(done))).toEqual(new Set([true]));
    for (const task of tasks) expect(await attemptsOf(task)).toHaveLength(1);
  });

  test('repeats a batch whose answer was lost without writing it twice', async () => {
    const [task] = await claim(1);
    const settler = create();
    // The write waits for the lock of its lease; once it does, its answer is as good as lost.
    const done = await sql.begin(async (transaction) => {
      await transaction`select from errand.lease where task = ${task!.taskId} for update`;
      const settled = settler.settle(settlementOf(task!));
      await until(async () => (await waitingStatements()) > 0, { what: 'a write that waits' });
      proxy.loseAnswers();
      return { settled };
    });
    await until(async () => (await attemptsOf(task!)).length > 0, { what: 'the lost write' });
    proxy.mend();
    await done.settled;
    expect(await attemptsOf(task!)).toEqual([{ settlement: 'succeed' }]);
  });

  test('stopRetrying() makes a failure final: the lease stays, and settle() is false', async () => {
    const [task] = await claim(1);
    const settler = create();
    proxy.cut();
    const done = settler.settle(settlementOf(task!));
    settler.stopRetrying();
    expect(await done).toBe(false);
    expect(await attemptsOf(task!)).toEqual([]);
    proxy.mend();
    const [lease] = await sql`select lease_id from errand.lease where task = ${task!.taskId}`;
    expect(lease).toEqual({ lease_id: task!.leaseId });
  });

  test('a settlement that the database refuses fails alone', async () => {
    const settler = create();
    const tasks = await claim(5);
    const poisoned = { error: 'a NUL \0 that text can not hold' };
    const results = await Promise.all(
      tasks.map((task, index) => settler.settle(settlementOf(task, index === 2 ? poisoned : {}))),
    );
    expect(results).toEqual([true, true, false, true, true]);
    expect(settler.pending()).toBe(0);
  });
});
