import { afterAll, describe, expect, it } from 'vitest';
import { enqueueNamedTasks } from '../../src/store/enqueue-named.ts';
import { cancelTask } from '../../src/store/task-cancel.ts';
import { deleteTask } from '../../src/store/task-delete.ts';
import { readTask } from '../../src/store/task-read.ts';
import { verifyRooms } from '../../src/store/verify.ts';
import {
  claimAll,
  enqueue,
  newTask,
  SUCCEED,
  settle,
  untilSomeoneWaits,
  useDatabase,
} from './task-fixture.ts';

const database = useDatabase();
const ref = (taskId: string) => ({ project: 'default', taskId });
const read = (taskId: string) => readTask(database.sql, ref(taskId));
const cancel = (taskId: string) => cancelTask(database.sql, ref(taskId));
const remove = (taskId: string) => deleteTask(database.sql, ref(taskId));

async function claimed(name: string | null = null) {
  const taskId = await enqueue(database.sql, { name });
  return (await claimAll(database.sql)).find((task) => task.taskId === taskId)!;
}

/** Runs `verb` while another session has done `first` to the same task and not yet committed. */
async function race<Result>(
  first: (sql: typeof database.sql) => Promise<unknown>,
  verb: () => Promise<Result>,
): Promise<Result> {
  const other = await database.sql.reserve();
  await other`begin`;
  await first(other);
  const result = verb();
  await untilSomeoneWaits(database.sql);
  await other`commit`;
  other.release();
  return result;
}

afterAll(async () => {
  expect((await verifyRooms(database.sql)).problems).toEqual([]);
});

describe('cancelTask()', () => {
  it('ends what waits, with the task as a later read shows it', async () => {
    const ready = await enqueue(database.sql);
    const scheduled = await enqueue(database.sql, { delaySeconds: 100 });
    for (const taskId of [ready, scheduled]) {
      const result = await cancel(taskId);
      expect(result).toMatchObject({
        kind: 'cancelled',
        task: { state: 'cancelled', attempts: 0 },
      });
      expect(result).toEqual({ kind: 'cancelled', task: await read(taskId), wakeUps: [] });
    }
  });

  it('frees the name after its retention, by the settings of the queue', async () => {
    const { sql } = database;
    await sql`update errand.queue set settings = '{"nameRetentionSeconds": 50, "retentionSeconds": 70}'`;
    const taskId = await enqueue(sql, { name: 'to-cancel' });
    await cancel(taskId);
    const [row] = await sql`
      select extract(epoch from n.free_from - f.finished_at)::float as free_in,
        extract(epoch from f.retained_until - f.finished_at)::float as retained_for
      from errand.task_name n join errand.finished f on f.task = n.task where n.name = 'to-cancel'`;
    expect(row).toEqual({ free_in: 50, retained_for: 70 });
    await sql`update errand.queue set settings = '{}'`;
  });

  it('asks a leased task to end, which its settlement obeys', async () => {
    const task = await claimed();
    expect(await cancel(task.taskId)).toMatchObject({
      kind: 'requested',
      task: { state: 'leased' },
    });
    expect(await cancel(task.taskId)).toMatchObject({ kind: 'requested' });
    await settle(database.sql, task, { kind: 'retry', delaySeconds: 1 });
    expect(await read(task.taskId)).toMatchObject({ state: 'cancelled', attempts: 1 });
  });

  it('leaves alone what has ended', async () => {
    const task = await claimed();
    await settle(database.sql, task, SUCCEED);
    expect(await cancel(task.taskId)).toMatchObject({
      kind: 'ended',
      task: { state: 'succeeded' },
    });
  });

  it('finds nothing of another project', async () => {
    const taskId = await enqueue(database.sql);
    expect(await cancelTask(database.sql, { project: 'other', taskId })).toEqual({
      kind: 'not-found',
    });
    expect(await read(taskId)).toMatchObject({ state: 'ready' });
  });

  it('follows a task that is claimed in that moment', async () => {
    const taskId = await enqueue(database.sql);
    const result = await race(
      (sql) => claimAll(sql),
      () => cancel(taskId),
    );
    expect(result).toMatchObject({ kind: 'requested', task: { state: 'leased' } });
  });

  it('follows a task that is settled in that moment', async () => {
    const task = await claimed();
    const result = await race(
      (sql) => settle(sql, task, SUCCEED),
      () => cancel(task.taskId),
    );
    expect(result).toMatchObject({ kind: 'ended', task: { state: 'succeeded' } });
  });

  it('is obeyed by a settlement that waits for it', async () => {
    const task = await claimed();
    const first = (sql: typeof database.sql) => cancelTask(sql, ref(task.taskId));
    expect(await race(first, () => settle(database.sql, task, SUCCEED))).toBe(true);
    expect(await read(task.taskId)).toMatchObject({ state: 'cancelled' });
  });
});

describe('deleteTask()', () => {
  const traces = async (taskId: string) => {
    const [row] = await database.sql`
      select (select count(*) from errand.task where id = ${taskId})
        + (select count(*) from errand.finished where task = ${taskId})
        + (select count(*) from errand.attempt where task = ${taskId})
        + (select count(*) from errand.task_name where task = ${taskId}) as rows`;
    return Number(row!.rows);
  };

  it('leaves no trace, and the name free', async () => {
    const task = await claimed('to-remove');
    await settle(database.sql, task, SUCCEED);
    expect(await traces(task.taskId)).toBe(4);
    expect(await remove(task.taskId)).toEqual({ kind: 'deleted', wakeUps: [] });
    expect(await traces(task.taskId)).toBe(0);
    expect(await remove(task.taskId)).toEqual({ kind: 'not-found' });
    const [again] = await enqueueNamedTasks(database.sql, [newTask({ name: 'to-remove' })]);
    expect(again?.kind).toBe('created');
  });

  it('removes what waits', async () => {
    for (const delaySeconds of [0, 100]) {
      const taskId = await enqueue(database.sql, { delaySeconds });
      expect(await remove(taskId)).toEqual({ kind: 'deleted', wakeUps: [] });
      expect(await read(taskId)).toBeNull();
    }
  });

  it('asks a leased task to end instead', async () => {
    const task = await claimed();
    expect(await remove(task.taskId)).toEqual({ kind: 'leased' });
    await settle(database.sql, task, { kind: 'retry', delaySeconds: 1 });
    expect(await read(task.taskId)).toMatchObject({ state: 'cancelled' });
    expect(await remove(task.taskId)).toEqual({ kind: 'deleted', wakeUps: [] });
  });

  it('removes nothing of a task that is claimed in that moment', async () => {
    const taskId = await enqueue(database.sql);
    expect(
      await race(
        (sql) => claimAll(sql),
        () => remove(taskId),
      ),
    ).toEqual({ kind: 'leased' });
    expect(await traces(taskId)).toBe(1);
  });

  it('finds nothing of another project', async () => {
    const taskId = await enqueue(database.sql);
    expect(await deleteTask(database.sql, { project: 'other', taskId })).toEqual({
      kind: 'not-found',
    });
    expect(await traces(taskId)).toBe(1);
  });
});
