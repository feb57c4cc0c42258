import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { ClaimedTask, Decision, Settlement } from '../../src/model.ts';
import { enqueueNamedTasks } from '../../src/store/enqueue-named.ts';
import { settleTasks } from '../../src/store/settle.ts';
import { cancelTask } from '../../src/store/task-cancel.ts';
import { verifyRooms } from '../../src/store/verify.ts';
import { newTask } from '../support/new-task.ts';
import {
  claim,
  claimNew,
  continueWith,
  createOwner,
  createQueue,
  fill,
  type Owner,
  openTransaction,
  queueClaim,
  retryIn,
  roomsOf,
  settlementOf,
  type TestQueue,
  times,
} from './lease-fixture.ts';
import { FAIL, SUCCEED, untilSomeoneWaits, useDatabase } from './task-fixture.ts';

const database = useDatabase();
let owner: Owner;
let queue: TestQueue;

beforeAll(async () => {
  owner = await createOwner(database.sql);
  queue = await createQueue(database.sql);
});

afterAll(async () => {
  expect((await verifyRooms(database.sql)).problems).toEqual([]);
});

const settle = (...settlements: Settlement[]) => settleTasks(database.sql, 0, settlements);
const claimed = (fields = {}) => claimNew(database.sql, owner, queue, fields);
const rooms = (task: ClaimedTask) => roomsOf(database.sql, task.taskId);
const cancel = (sql: typeof database.sql, { taskId }: ClaimedTask) =>
  cancelTask(sql, { project: 'default', taskId });

async function finished({ taskId }: ClaimedTask) {
  const [row] = await database.sql`
    select *, extract(epoch from retained_until - finished_at)::float as retained_seconds
    from errand.finished where task = ${taskId}`;
  return row;
}

function attempts({ taskId }: ClaimedTask) {
  return database.sql`select * from errand.attempt where task = ${taskId} order by step, attempt`;
}

async function steps({ taskId }: ClaimedTask) {
  return database.sql`select * from errand.task where id = ${taskId} order by step`;
}

describe('settleTasks() of a task that has to end, or whose name is to be freed', () => {
  it.each<[string, Decision]>([
    ['succeed', SUCCEED],
    ['retry', retryIn(1)],
    ['continue', continueWith('next')],
    ['fail', FAIL],
  ])('ends as cancelled a task whose cancellation was asked for: %s', async (kind, decision) => {
    const task = await claimed();
    await cancel(database.sql, task);
    const { leaseIds, wakeUps } = await settle(settlementOf(task, decision));
    expect([leaseIds.size, wakeUps]).toEqual([1, []]);
    expect(await rooms(task)).toEqual(['cancelled']);
    expect(await finished(task)).toMatchObject({ reason: 'cancelled while it was dispatched' });
    expect((await attempts(task))[0], kind).toMatchObject({ settlement: 'cancel' });
    expect(await steps(task)).toHaveLength(1);
  });

  it('waits for a cancellation under way and obeys it', async () => {
    const task = await claimed();
    const other = await openTransaction(database.sql);
    await cancel(other.sql, task);
    const settling = settle(settlementOf(task, SUCCEED));
    await untilSomeoneWaits(database.sql);
    await other.commit();
    expect((await settling).leaseIds.size).toBe(1);
    expect(await rooms(task)).toEqual(['cancelled']);
  });

  it('ends what a purge has passed, unless it has just ended by itself', async () => {
    const decisions = [retryIn(5), continueWith('next'), SUCCEED, FAIL];
    const purged = await createQueue(database.sql);
    await fill(database.sql, purged, ...times(5));
    const tasks = await claim(database.sql, owner, [queueClaim(purged)]);
    const [young, ...old] = tasks.toReversed();
    await database.sql`
      update errand.queue set purged_before = ${young!.taskId} where id = ${purged.queue}`;
    await settle(
      settlementOf(young!, retryIn(5)),
      ...decisions.map((decision, index) => settlementOf(old[index]!, decision)),
    );
    const states = (await Promise.all([young!, ...old].map(rooms))).flat();
    expect(states).toEqual(['scheduled', 'cancelled', 'cancelled', 'succeeded', 'failed']);
    expect(await finished(old[0]!)).toMatchObject({ reason: 'purged with its queue' });
  });

  it('frees the name when the task has ended, not before', async () => {
    const create = () =>
      enqueueNamedTasks(database.sql, [newTask({ ...queueOf(queue), name: 'named' })]);
    const freeIn = async () => {
      const [row] = await database.sql`
        select extract(epoch from free_from - now())::float as seconds from errand.task_name
        where queue = ${queue.queue} and name = 'named'`;
      return row!.seconds as number | null;
    };
    await create();
    const [first] = await claim(database.sql, owner, [queueClaim(queue)]);
    await settle(settlementOf(first!, continueWith('next')));
    const [second] = await claim(database.sql, owner, [queueClaim(queue)]);
    expect(second).toMatchObject({ name: 'named', step: 1 });
    expect(await freeIn()).toBeNull();
    await settle(settlementOf(second!, SUCCEED));
    expect(await freeIn()).toBeGreaterThan(95);
    expect(await create()).toMatchObject([{ kind: 'name-taken', taskId: first!.taskId }]);
    await database.sql`update errand.task_name set free_from = now() where name = 'named'`;
    expect(await create()).toMatchObject([{ kind: 'created' }]);
    await claim(database.sql, owner, [queueClaim(queue)]);
  });

  it("does not free a name that is another task's by now", async () => {
    const task = await claimed();
    await database.sql`
      insert into errand.task_name (shard, queue, name, task)
      values (0, ${queue.queue}, 'again', gen_random_uuid())`;
    await settle(settlementOf(task, SUCCEED, { name: 'again' }));
    const [row] = await database.sql`select free_from from errand.task_name where name = 'again'`;
    expect(row).toEqual({ free_from: null });
  });
});

function queueOf({ queue, shard }: TestQueue) {
  return { queue, shard };
}
