import { beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { settleTasks } from '../../src/store/settle.ts';
import { verifyRooms } from '../../src/store/verify.ts';
import {
  claimNew,
  continueWith,
  createOwner,
  createQueue,
  fill,
  type Owner,
  settlementOf,
  type TestQueue,
} from './lease-fixture.ts';
import { SUCCEED, useDatabase } from './task-fixture.ts';

const database = useDatabase();
let owner: Owner;
let queue: TestQueue;

beforeAll(async () => {
  owner = await createOwner(database.sql);
  queue = await createQueue(database.sql);
});

beforeEach(async () => {
  await database.sql`truncate errand.task, errand.ready, errand.scheduled, errand.lease, errand.finished`;
});

const verify = () => verifyRooms(database.sql);

async function ready(): Promise<string> {
  return (await fill(database.sql, queue, {}))[0]!;
}

describe('verifyRooms()', () => {
  it('finds nothing wrong where nothing is', async () => {
    expect(await verify()).toEqual({ tasks: 0, problems: [] });
    const done = await claimNew(database.sql, owner, queue);
    await settleTasks(database.sql, 0, [settlementOf(done, SUCCEED)]);
    const next = await claimNew(database.sql, owner, queue);
    await settleTasks(database.sql, 0, [settlementOf(next, continueWith('next'))]);
    await fill(database.sql, queue, {}, { delaySeconds: 60 });
    expect(await verify()).toEqual({ tasks: 4, problems: [] });
  });

  it('finds a task that lies nowhere', async () => {
    const task = await ready();
    await ready();
    await database.sql`delete from errand.ready where task = ${task}`;
    const problems = [{ kind: 'in-no-room', count: 1, examples: [task] }];
    expect(await verify()).toEqual({ tasks: 2, problems });
  });

  it('finds a task that lies in several rooms', async () => {
    const task = await ready();
    await database.sql`
      insert into errand.scheduled (shard, due_at, task, step, queue, rank, attempt)
      select shard, now(), task, step, queue, rank, attempt from errand.ready`;
    const problems = [{ kind: 'in-several-rooms', count: 1, examples: [task] }];
    expect(await verify()).toEqual({ tasks: 1, problems });
  });

  it('finds a room that holds a task that does not exist, and names a few of many', async () => {
    const tasks = await fill(database.sql, queue, ...Array.from({ length: 7 }, () => ({})));
    await database.sql`truncate errand.task`;
    const examples = tasks.sort().slice(0, 5);
    const problems = [{ kind: 'room-without-task', count: 7, examples }];
    expect(await verify()).toEqual({ tasks: 0, problems });
  });

  it('finds a task that lies at another step than its newest', async () => {
    const task = await ready();
    await database.sql`update errand.ready set step = 1 where task = ${task}`;
    const problems = [{ kind: 'wrong-step', count: 1, examples: [task] }];
    expect(await verify()).toEqual({ tasks: 1, problems });
  });

  it('does not mind what a purge is still deleting', async () => {
    const task = await ready();
    await database.sql`delete from errand.ready where task = ${task}`;
    await database.sql`
      update errand.queue set is_purging = true,
        purged_before = errand.lowest_task_id(now() + interval '1 minute') where id = ${queue.queue}`;
    expect((await verify()).problems).toEqual([]);
  });
});
