import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { enqueueNamedTasks } from '../../src/store/enqueue-named.ts';
import { deleteExpiredKeys, listPurges, purgeBatch } from '../../src/store/housekeeping.ts';
import { purgeQueue } from '../../src/store/queue-removal.ts';
import { verifyRooms } from '../../src/store/verify.ts';
import { newTask } from '../support/new-task.ts';
import {
  claim,
  createOwner,
  createQueue,
  fill,
  type Owner,
  queueClaim,
  times,
} from './lease-fixture.ts';
import { useDatabase } from './task-fixture.ts';

const database = useDatabase();
let owner: Owner;

beforeAll(async () => {
  owner = await createOwner(database.sql);
});

afterAll(async () => {
  expect((await verifyRooms(database.sql)).problems).toEqual([]);
});

async function purge(queue: number): Promise<void> {
  const [row] = await database.sql`select name from errand.queue where id = ${queue}`;
  await purgeQueue(database.sql, 'default', row!.name);
}

async function rowsOf(queue: number) {
  const [row] = await database.sql`
    select (select count(*)::integer from errand.ready where queue = ${queue}) as ready,
      (select count(*)::integer from errand.scheduled where queue = ${queue}) as scheduled,
      (select count(*)::integer from errand.task where queue = ${queue}) as task,
      (select count(*)::integer from errand.task_name where queue = ${queue}) as name`;
  return row;
}

describe('purgeBatch()', () => {
  it('deletes what is older than the purge, in batches, and frees its names', async () => {
    const { queue, ...rest } = await createQueue(database.sql);
    const of = { queue, ...rest };
    const bystander = await createQueue(database.sql);
    await fill(database.sql, bystander, {}, { delaySeconds: 60 });
    await fill(database.sql, of, ...times(5), ...times(4, { delaySeconds: 60 }));
    const named = () =>
      enqueueNamedTasks(database.sql, [newTask({ queue, name: 'a', delaySeconds: 9 })]);
    await named();
    await purge(queue);
    const [young] = await fill(database.sql, of, {});
    expect(await listPurges(database.sql, [0])).toEqual([{ queue, shard: 0 }]);
    expect(await listPurges(database.sql, [1])).toEqual([]);
    const batches: number[] = [];
    do batches.push(await purgeBatch(database.sql, { queue, shard: 0, limit: 3 }));
    while (batches.at(-1)! > 0);
    expect(batches).toEqual([6, 4, 0]);
    expect(await rowsOf(queue)).toEqual({ ready: 1, scheduled: 0, task: 1, name: 0 });
    expect(await rowsOf(bystander.queue)).toMatchObject({ ready: 1, scheduled: 1, task: 2 });
    expect(await named()).toMatchObject([{ kind: 'created' }]);
    // Looked at for a while longer: a statement from before the purge may commit only now.
    expect(await listPurges(database.sql, [0])).toEqual([{ queue, shard: 0 }]);
    await database.sql`update errand.queue
      set purged_before = errand.lowest_task_id(now() - interval '31 seconds') where id = ${queue}`;
    expect(await listPurges(database.sql, [0])).toEqual([]);
    const [row] =
      await database.sql`select version, is_purging from errand.queue where id = ${queue}`;
    expect(row).toEqual({ version: '3', is_purging: false });
    const version = 3;
    const claimed = await claim(database.sql, owner, [queueClaim({ ...of, version })]);
    expect(claimed.map(({ taskId }) => taskId)).toEqual([young]);
  });

  it('does nothing to a queue that is not being purged', async () => {
    const queue = await createQueue(database.sql);
    await fill(database.sql, queue, {});
    expect(await purgeBatch(database.sql, { ...queue, limit: 10 })).toBe(0);
    const [row] = await database.sql`select version from errand.queue where id = ${queue.queue}`;
    expect([row!.version, (await rowsOf(queue.queue))!.ready]).toEqual(['1', 1]);
  });
});

describe('deleteExpiredKeys()', () => {
  it('deletes names that are free and keys that are over, up to its limit of each', async () => {
    await database.sql`
      insert into errand.task_name (shard, queue, name, task, free_from)
      select 0, 999, 'n' || i, gen_random_uuid(),
        case when i <= 5 then now() - interval '1 second' when i <= 7 then now() + interval '1 hour' end
      from generate_series(1, 9) i`;
    await database.sql`
      insert into errand.idempotency (shard, queue, key, request_hash, task, expires_at)
      select 0, 999, 'k' || i, '', gen_random_uuid(), now() + (i - 3.5) * interval '1 hour'
      from generate_series(1, 5) i`;
    const deleted = [];
    do deleted.push(await deleteExpiredKeys(database.sql, 2));
    while (deleted.at(-1)! > 0);
    expect(deleted).toEqual([4, 3, 1, 0]);
    const left = await database.sql`
      select name from errand.task_name where queue = 999
      union all select key from errand.idempotency where queue = 999 order by 1`;
    expect(left.map(({ name }) => name)).toEqual(['k4', 'k5', 'n6', 'n7', 'n8', 'n9']);
  });
});
