import { afterAll, describe, expect, it } from 'vitest';
import { deleteTask } from '../../src/store/task-delete.ts';
import { readTask } from '../../src/store/task-read.ts';
import { retryTask } from '../../src/store/task-retry.ts';
import { RUN_NOW_RANK, runTask } from '../../src/store/task-run.ts';
import { verifyRooms } from '../../src/store/verify.ts';
import {
  claimAll,
  enqueue,
  FAIL,
  QUEUE,
  SUCCEED,
  settle,
  untilSomeoneWaits,
  useDatabase,
} from './task-fixture.ts';

const database = useDatabase();
const ref = (taskId: string) => ({ project: 'default', taskId });
const read = (taskId: string) => readTask(database.sql, ref(taskId));
const retry = (taskId: string) => retryTask(database.sql, ref(taskId));
const run = (taskId: string) => runTask(database.sql, ref(taskId));

async function ended(decision = FAIL, name: string | null = null): Promise<string> {
  const taskId = await enqueue(database.sql, { name });
  const task = (await claimAll(database.sql)).find((each) => each.taskId === taskId)!;
  await settle(database.sql, task, decision);
  return taskId;
}

afterAll(async () => {
  expect((await verifyRooms(database.sql)).problems).toEqual([]);
});

describe('retryTask()', () => {
  it('makes a failed task ready again under its id, with no attempt counted', async () => {
    const taskId = await ended();
    const result = await retry(taskId);
    const [row] = await database.sql`select seq from errand.ready where task = ${taskId}`;
    expect(result).toEqual({
      kind: 'ready',
      task: await read(taskId),
      wakeUp: { shard: QUEUE.shard, queue: QUEUE.id, rank: 0, seq: row!.seq, dueInSeconds: 0 },
    });
    expect(await read(taskId)).toMatchObject({ state: 'ready', attempts: 0, reason: null });
    const [task] = await claimAll(database.sql);
    expect(task).toMatchObject({ taskId, attempt: 1 });
  });

  it('takes its name back, also when that was cleared away', async () => {
    const { sql } = database;
    const kept = await ended(FAIL, 'kept');
    expect((await retry(kept)).kind).toBe('ready');
    const cleared = await ended(FAIL, 'cleared');
    await sql`delete from errand.task_name where name = 'cleared'`;
    expect((await retry(cleared)).kind).toBe('ready');
    const names = await sql`select name, free_from from errand.task_name
      where name in ('kept', 'cleared') order by name desc`;
    expect(names).toEqual([
      { name: 'kept', free_from: null },
      { name: 'cleared', free_from: null },
    ]);
  });

  it('says who has its name now, and changes nothing', async () => {
    const first = await ended(FAIL, 'passed-on');
    await database.sql`update errand.task_name set free_from = now() where name = 'passed-on'`;
    const second = await enqueue(database.sql, { name: 'passed-on' });
    expect(await retry(first)).toEqual({ kind: 'name-taken', taskId: second });
    expect(await read(first)).toMatchObject({ state: 'failed' });
  });

  it('refuses what succeeded, what lives, what was purged and what is not there', async () => {
    const { sql } = database;
    expect(await retry(await ended(SUCCEED))).toEqual({ kind: 'succeeded' });
    expect(await retry(await enqueue(sql))).toEqual({ kind: 'live' });
    const failed = await ended();
    expect(await retryTask(sql, { project: 'other', taskId: failed })).toEqual({
      kind: 'not-found',
    });
    await sql`update errand.queue set purged_before = errand.lowest_task_id(clock_timestamp())`;
    expect(await retry(failed)).toEqual({ kind: 'purged' });
    expect(await read(failed)).toMatchObject({ state: 'failed' });
    await sql`update errand.queue set purged_before = null`;
  });

  it('happens once when two ask for it at once', async () => {
    const taskId = await ended(FAIL, 'twice');
    const results = await Promise.all([retry(taskId), retry(taskId), retry(taskId)]);
    expect(results.map((result) => result.kind).sort()).toEqual(['live', 'live', 'ready']);
  });

  it('does not take the name of a task that is removed in that moment', async () => {
    const taskId = await ended(FAIL, 'removed');
    const other = await database.sql.reserve();
    await other`begin`;
    await deleteTask(other, ref(taskId));
    const result = retry(taskId);
    await untilSomeoneWaits(database.sql);
    await other`commit`;
    other.release();
    expect(await result).toEqual({ kind: 'not-found' });
    const names = await database.sql`select from errand.task_name where name = 'removed'`;
    expect(names).toHaveLength(0);
  });
});

describe('runTask()', () => {
  it('makes a scheduled task ready now and keeps its attempts', async () => {
    const { sql } = database;
    const taskId = await enqueue(sql, { delaySeconds: 1000, rank: -7 });
    await sql`update errand.scheduled set attempt = 3, previous_status = 503 where task = ${taskId}`;
    const result = await run(taskId);
    expect(result).toMatchObject({
      kind: 'ready',
      wakeUp: { rank: RUN_NOW_RANK, dueInSeconds: 0 },
    });
    expect(result).toMatchObject({ task: await read(taskId) });
    expect(await read(taskId)).toMatchObject({ state: 'ready', attempts: 3, lastStatus: 503 });
  });

  it('moves a ready task before all others, once', async () => {
    const taskId = await enqueue(database.sql, { rank: 5 });
    const first = await run(taskId);
    expect(first).toMatchObject({ kind: 'ready', wakeUp: { rank: RUN_NOW_RANK } });
    expect(await run(taskId)).toEqual(first);
    const rows = await database.sql`select rank, attempt from errand.ready where task = ${taskId}`;
    expect([...rows]).toEqual([{ rank: RUN_NOW_RANK, attempt: 0 }]);
    expect(await read(taskId)).toMatchObject({ state: 'ready', rank: 5 });
  });
  it('refuses what is leased, has ended, or is not there', async () => {
    const { sql } = database;
    expect(await run(await ended())).toEqual({ kind: 'ended' });
    const taskId = await enqueue(sql);
    await claimAll(sql);
    expect(await run(taskId)).toEqual({ kind: 'leased' });
    expect(await runTask(sql, { project: 'other', taskId })).toEqual({ kind: 'not-found' });
  });
});
