import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { postponeTasks } from '../../src/store/postpone.ts';
import { promoteDue } from '../../src/store/promote.ts';
import { settleTasks } from '../../src/store/settle.ts';
import { cancelTask } from '../../src/store/task-cancel.ts';
import { verifyRooms } from '../../src/store/verify.ts';
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
const delayed = (delaySeconds: number) => (task: { taskId: string; leaseId: string }) => ({
  taskId: task.taskId,
  leaseId: task.leaseId,
  delaySeconds,
});

describe('postponeTasks()', () => {
  it('schedules tasks for when their delays are over, and says so', async () => {
    const queue = await createQueue(database.sql);
    await fill(database.sql, queue, ...times(2));
    const [soon, late] = await claim(database.sql, owner, [queueClaim(queue)]);
    const wakeUps = await postponeTasks(database.sql, 0, [delayed(5)(soon!), delayed(600)(late!)]);
    const dueIn = wakeUps.map(({ dueInSeconds }) => Math.round(dueInSeconds)).sort((a, b) => a - b);
    expect(dueIn).toEqual([5, 600]);
    expect(wakeUps[0]).toMatchObject({ shard: 0, queue: queue.queue, rank: 0, seq: null });
    expect(await roomsOf(database.sql, soon!.taskId)).toEqual(['scheduled']);
  });

  it('counts no attempt, and keeps the first attempt and the last status', async () => {
    const queue = await createQueue(database.sql);
    const task = await claimNew(database.sql, owner, queue);
    await database.sql`
      update errand.lease set attempt = 3, previous_status = 500,
        first_attempt_at = now() - interval '50 seconds' where task = ${task.taskId}`;
    await postponeTasks(database.sql, 0, [delayed(0.000_001)(task)]);
    await promoteDue(database.sql, { shards: [0], limit: 1000, fromSeconds: null });
    const [again] = await claim(database.sql, owner, [queueClaim(queue)]);
    expect(again).toMatchObject({ taskId: task.taskId, attempt: 3, previousStatus: 500 });
    expect(again!.secondsSinceFirstAttempt).toBeGreaterThanOrEqual(50);
    const attempts = await database.sql`select from errand.attempt where task = ${task.taskId}`;
    expect(attempts).toHaveLength(0);
  });

  it('counts a lease that is named twice once', async () => {
    const task = await claimNew(database.sql, owner, await createQueue(database.sql));
    const twice = [delayed(60)(task), delayed(60)(task)];
    expect(await postponeTasks(database.sql, 0, twice)).toHaveLength(1);
    expect(await roomsOf(database.sql, task.taskId)).toEqual(['scheduled']);
  });

  it('changes nothing when the lease is gone, or is another by now', async () => {
    const task = await claimNew(database.sql, owner, await createQueue(database.sql));
    const stranger = { ...task, leaseId: '3f2f0f5e-5c1c-4f0e-9b0a-000000000001' };
    expect(await postponeTasks(database.sql, 0, [delayed(60)(stranger)])).toEqual([]);
    expect(await roomsOf(database.sql, task.taskId)).toEqual(['lease']);
    await settleTasks(database.sql, 0, [settlementOf(task, SUCCEED)]);
    expect(await postponeTasks(database.sql, 0, [delayed(60)(task)])).toEqual([]);
    expect(await roomsOf(database.sql, task.taskId)).toEqual(['succeeded']);
  });

  it('waits for a cancellation under way and obeys it', async () => {
    const task = await claimNew(database.sql, owner, await createQueue(database.sql));
    const other = await openTransaction(database.sql);
    await cancelTask(other.sql, ref(task.taskId));
    const postponing = postponeTasks(database.sql, 0, [delayed(60)(task)]);
    await untilSomeoneWaits(database.sql);
    await other.commit();
    expect(await postponing).toEqual([]);
    expect(await roomsOf(database.sql, task.taskId)).toEqual(['cancelled']);
  });
});
