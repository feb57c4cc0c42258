import { describe, expect, it } from 'vitest';
import { listAttempts } from '../../src/store/task-attempts.ts';
import { readOutput } from '../../src/store/task-output.ts';
import { setProgress } from '../../src/store/task-progress.ts';
import { readTask } from '../../src/store/task-read.ts';
import {
  claimAll,
  enqueue,
  FAIL,
  type newTask,
  SUCCEED,
  settle,
  useDatabase,
} from './task-fixture.ts';

const database = useDatabase();
const ref = (taskId: string) => ({ project: 'default', taskId });
const read = (taskId: string) => readTask(database.sql, ref(taskId));

async function claimed(overrides: Parameters<typeof newTask>[0] = {}) {
  const taskId = await enqueue(database.sql, overrides);
  return (await claimAll(database.sql)).find((task) => task.taskId === taskId)!;
}

describe('readTask()', () => {
  it('finds a task in each of its rooms', async () => {
    const { sql } = database;
    const scheduled = await enqueue(sql, { delaySeconds: 100 });
    expect(await read(scheduled)).toMatchObject({ state: 'scheduled', attempts: 0 });
    const taskId = await enqueue(sql, { name: 'through-the-rooms' });
    expect(await read(taskId)).toMatchObject({ state: 'ready', attempts: 0, startedAt: null });
    const [task] = await claimAll(sql);
    expect(await read(taskId)).toMatchObject({ state: 'leased', attempts: 1, lastStatus: null });
    await settle(sql, task!, { kind: 'retry', delaySeconds: 60 });
    const waiting = await read(taskId);
    expect(waiting).toMatchObject({ state: 'scheduled', attempts: 1, lastStatus: 503 });
    expect(waiting?.startedAt).toBeInstanceOf(Date);
    await sql`update errand.scheduled set due_at = now() where task = ${taskId}`;
    expect(await read(taskId)).toMatchObject({ name: 'through-the-rooms', body: null });
  });

  it('shows how a task ended', async () => {
    const task = await claimed();
    await settle(database.sql, task, FAIL);
    const ended = await read(task.taskId);
    expect(ended).toMatchObject({
      state: 'failed',
      attempts: 1,
      lastStatus: 503,
      reason: FAIL.kind === 'fail' && FAIL.reason,
    });
    expect(ended?.finishedAt).toBeInstanceOf(Date);
  });

  it('shows the newest step of a continuation', async () => {
    const task = await claimed();
    const next = {
      payload: Buffer.from('two'),
      delaySeconds: 0,
      url: null,
      dropAuthorization: false,
    };
    await settle(database.sql, task, { kind: 'continue', progress: 40, ...next });
    const second = await readTask(database.sql, ref(task.taskId), { withPayload: true });
    expect(second).toMatchObject({ state: 'ready', step: 1, attempts: 0, progress: 40 });
    expect(Buffer.from(second!.body!).toString()).toBe('two');
    await claimAll(database.sql);
  });

  it('finds nothing for an unknown id, another project, and a day without partitions', async () => {
    const taskId = await enqueue(database.sql);
    expect(await readTask(database.sql, { project: 'other', taskId })).toBeNull();
    expect(await read('f'.repeat(32))).toBeNull();
    expect(await read('0'.repeat(32))).toBeNull();
  });

  it('hides what a purge has passed, but not what is leased', async () => {
    const { sql } = database;
    const leased = await claimed();
    const ready = await enqueue(sql);
    const scheduled = await enqueue(sql, { delaySeconds: 100 });
    await sql`update errand.queue set purged_before = errand.lowest_task_id(clock_timestamp())`;
    expect(await read(ready)).toBeNull();
    expect(await read(scheduled)).toBeNull();
    expect(await read(leased.taskId)).toMatchObject({ state: 'leased' });
    await sql`update errand.queue set purged_before = null`;
  });

  it('hides what is past its retention, unless it is asked for', async () => {
    const task = await claimed();
    await settle(database.sql, task, SUCCEED, { retentionSeconds: 0 });
    expect(await read(task.taskId)).toBeNull();
    const options = { isPastRetentionShown: true };
    expect(await readTask(database.sql, ref(task.taskId), options)).toMatchObject({
      state: 'succeeded',
    });
  });

  it('never misses a task that moves', async () => {
    const { sql } = database;
    const taskId = await enqueue(sql);
    let isMoving = true;
    const move = async () => {
      for (let i = 0; i < 60; i += 1) {
        const task = (await claimAll(sql)).find((each) => each.taskId === taskId);
        if (task) await settle(sql, task, { kind: 'retry', delaySeconds: 0 });
        await sql`with gone as (delete from errand.scheduled where task = ${taskId} returning *)
          insert into errand.ready (shard, queue, rank, seq, task, step, attempt, due_at)
          select shard, queue, rank, nextval('errand.task_seq'), task, step, attempt, due_at from gone`;
      }
      isMoving = false;
    };
    const look = async () => {
      const states: (string | undefined)[] = [];
      while (isMoving) states.push((await read(taskId))?.state);
      return new Set(states);
    };
    const [, states] = await Promise.all([move(), look()]);
    expect(states).not.toContain(undefined);
    expect(states.size).toBeGreaterThan(1);
  });
});

describe('listAttempts()', () => {
  it('pages through the attempts, newest first', async () => {
    const { sql } = database;
    const taskId = await enqueue(sql);
    for (let i = 0; i < 3; i += 1) {
      const task = (await claimAll(sql)).find((each) => each.taskId === taskId)!;
      await settle(
        sql,
        task,
        { kind: 'retry', delaySeconds: 0.25 },
        { outcome: 'timed_out', status: null },
      );
      await sql`with gone as (delete from errand.scheduled where task = ${taskId} returning *)
        insert into errand.ready (shard, queue, rank, seq, task, step, attempt, due_at)
        select shard, queue, rank, nextval('errand.task_seq'), task, step, attempt, due_at from gone`;
    }
    const first = await listAttempts(sql, { ...ref(taskId), limit: 2, after: null });
    expect(first?.hasMore).toBe(true);
    expect(first?.attempts.map((attempt) => attempt.attempt)).toEqual([3, 2]);
    expect(first?.attempts[0]).toMatchObject({
      outcome: 'timed_out',
      settlement: 'retry',
      durationMs: 12,
    });
    const after = first!.attempts[1]!.leaseId;
    const second = await listAttempts(sql, { ...ref(taskId), limit: 2, after });
    expect(second?.attempts.map((attempt) => attempt.attempt)).toEqual([1]);
    expect(second?.hasMore).toBe(false);
  });

  it('tells a task without attempts from no task', async () => {
    const taskId = await enqueue(database.sql);
    const page = { limit: 10, after: null };
    expect(await listAttempts(database.sql, { ...ref(taskId), ...page })).toEqual({
      attempts: [],
      hasMore: false,
    });
    expect(await listAttempts(database.sql, { project: 'other', taskId, ...page })).toBeNull();
  });
});

describe('readOutput()', () => {
  it('returns the bytes, and null where there are none', async () => {
    const task = await claimed();
    expect(await readOutput(database.sql, ref(task.taskId))).toBeNull();
    const output = {
      body: Buffer.from([0, 255]),
      contentType: 'image/png',
      fileName: 'a.png',
      isTruncated: true,
    };
    await settle(database.sql, task, { kind: 'succeed', output, progress: null });
    const stored = await readOutput(database.sql, ref(task.taskId));
    expect({ ...stored, body: Buffer.from(stored!.body) }).toEqual(output);
    expect(await readOutput(database.sql, { project: 'other', taskId: task.taskId })).toBeNull();
  });
});

describe('setProgress()', () => {
  const set = (taskId: string, leaseId: string | null, project = 'default') =>
    setProgress(database.sql, { project, taskId, progress: 33.3, leaseId });

  it('takes the live lease and no other', async () => {
    const task = await claimed();
    expect(await set(task.taskId, task.leaseId)).toBe('set');
    expect((await read(task.taskId))?.progress).toBe(33.3);
    expect(await set(task.taskId, crypto.randomUUID())).toBe('lease-lost');
    expect(await set(task.taskId, task.leaseId, 'other')).toBe('not-found');
    await settle(database.sql, task, SUCCEED);
    expect(await set(task.taskId, task.leaseId)).toBe('lease-lost');
    expect(await set(task.taskId, null)).toBe('ended');
    expect((await read(task.taskId))?.progress).toBe(33.3);
  });

  it('refuses a lease past its end', async () => {
    const task = await claimed();
    await database.sql`update errand.lease set expires_at = now() where task = ${task.taskId}`;
    expect(await set(task.taskId, task.leaseId)).toBe('lease-lost');
  });

  it('lets an API key set it while the task lives', async () => {
    expect(await set(await enqueue(database.sql), null)).toBe('set');
  });
});
