import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { enqueueNamedTasks } from '../../src/store/enqueue-named.ts';
import { releaseTasks } from '../../src/store/release.ts';
import { settleTasks } from '../../src/store/settle.ts';
import { cancelTask } from '../../src/store/task-cancel.ts';
import { verifyRooms } from '../../src/store/verify.ts';
import { newTask } from '../support/new-task.ts';
import {
  claim,
  claimNew,
  createOwner,
  createQueue,
  fill,
  type Owner,
  openTransaction,
  queueClaim,
  roomsOf,
  settlementOf,
  times,
} from './lease-fixture.ts';
import { SUCCEED, untilSomeoneWaits, useDatabase } from './task-fixture.ts';

const database = useDatabase();
let owner: Owner;

beforeAll(async () => {
  owner = await createOwner(database.sql);
});

afterAll(async () => {
  expect((await verifyRooms(database.sql)).problems).toEqual([]);
});

const ref = (taskId: string) => ({ project: 'default', taskId });

describe('releaseTasks()', () => {
  it('gives tasks back to their places, with the attempts they had', async () => {
    const queue = await createQueue(database.sql);
    const tasks = await fill(database.sql, queue, ...times(4));
    const first = await claim(database.sql, owner, [queueClaim(queue, { limit: 3 })]);
    const wakeUps = await releaseTasks(database.sql, 0, first);
    expect(wakeUps.map(({ seq }) => seq).sort()).toEqual(first.map(({ seq }) => seq).sort());
    expect(wakeUps[0]).toMatchObject({ shard: 0, queue: queue.queue, rank: 0, dueInSeconds: 0 });
    const again = await claim(database.sql, owner, [queueClaim(queue)]);
    expect(again.map(({ taskId }) => taskId)).toEqual(tasks);
    const same = first.map(({ leaseId: _, ...task }) => task);
    expect(again.slice(0, 3).map(({ leaseId: _, ...task }) => task)).toEqual(same);
  });

  it('keeps the first attempt and the last status of a retried task', async () => {
    const queue = await createQueue(database.sql);
    const task = await claimNew(database.sql, owner, queue);
    await database.sql`
      update errand.lease set attempt = 3, previous_status = 500,
        first_attempt_at = now() - interval '50 seconds' where task = ${task.taskId}`;
    await releaseTasks(database.sql, 0, [task]);
    const [again] = await claim(database.sql, owner, [queueClaim(queue)]);
    expect(again).toMatchObject({ attempt: 3, previousStatus: 500 });
    expect(again!.secondsSinceFirstAttempt).toBeGreaterThanOrEqual(50);
  });

  it('counts a lease that is named twice once', async () => {
    const task = await claimNew(database.sql, owner, await createQueue(database.sql));
    expect(await releaseTasks(database.sql, 0, [task, task])).toHaveLength(1);
    expect(await roomsOf(database.sql, task.taskId)).toEqual(['ready']);
  });

  it('changes nothing when the lease is gone, or is another by now', async () => {
    const queue = await createQueue(database.sql);
    const task = await claimNew(database.sql, owner, queue);
    expect(await releaseTasks(database.sql, 0, [task])).toHaveLength(1);
    expect(await releaseTasks(database.sql, 0, [task])).toEqual([]);
    const [again] = await claim(database.sql, owner, [queueClaim(queue)]);
    expect(await releaseTasks(database.sql, 0, [task])).toEqual([]);
    expect(await roomsOf(database.sql, task.taskId)).toEqual(['lease']);
    await settleTasks(database.sql, 0, [settlementOf(again!, SUCCEED)]);
    expect(await releaseTasks(database.sql, 0, [again!])).toEqual([]);
    expect(await roomsOf(database.sql, task.taskId)).toEqual(['succeeded']);
  });

  it('ends as cancelled what was asked to end, with the retention of its queue', async () => {
    const queue = await createQueue(database.sql, {
      settings: { retentionSeconds: 70, nameRetentionSeconds: 50 },
    });
    const fields = { queue: queue.queue, name: 'asked' };
    await enqueueNamedTasks(database.sql, [newTask(fields)]);
    const [asked] = await claim(database.sql, owner, [queueClaim(queue)]);
    const other = await claimNew(database.sql, owner, queue);
    await cancelTask(database.sql, ref(asked!.taskId));
    const wakeUps = await releaseTasks(database.sql, 0, [asked!, other]);
    expect(wakeUps.map(({ seq }) => seq)).toEqual([other.seq]);
    const [row] = await database.sql`
      select f.state, f.attempt, f.started_at,
        extract(epoch from f.retained_until - f.finished_at)::float as retained,
        extract(epoch from n.free_from - f.finished_at)::float as free_in
      from errand.finished f join errand.task_name n on n.task = f.task
      where f.task = ${asked!.taskId}`;
    const expected = { state: 'cancelled', attempt: 0, started_at: null };
    expect(row).toEqual({ ...expected, retained: 70, free_in: 50 });
    expect(await roomsOf(database.sql, asked!.taskId)).toEqual(['cancelled']);
  });

  it('waits for a cancellation under way and obeys it', async () => {
    const task = await claimNew(database.sql, owner, await createQueue(database.sql));
    const other = await openTransaction(database.sql);
    await cancelTask(other.sql, ref(task.taskId));
    const releasing = releaseTasks(database.sql, 0, [task]);
    await untilSomeoneWaits(database.sql);
    await other.commit();
    expect(await releasing).toEqual([]);
    expect(await roomsOf(database.sql, task.taskId)).toEqual(['cancelled']);
  });
});
