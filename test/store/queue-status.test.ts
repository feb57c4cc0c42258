import { describe, expect, it } from 'vitest';
import {
  announceLeaving,
  beat,
  registerDispatcher,
  takeShards,
} from '../../src/store/ownership.ts';
import { listDispatchers, listUnservedPools } from '../../src/store/ownership-list.ts';
import { putQueue } from '../../src/store/queue-change.ts';
import { deleteQueue } from '../../src/store/queue-removal.ts';
import {
  deleteStrayStatuses,
  PLAIN_STATUS,
  readQueueStatus,
  writeQueueStatus,
} from '../../src/store/queue-status.ts';
import { useDatabase } from './task-fixture.ts';

const database = useDatabase();

const enter = (pool: string) =>
  registerDispatcher(database.sql, { pool, host: 'box', pid: process.pid });
const put = async (name: string, pool: string) =>
  (await putQueue(database.sql, { project: 'default', name, settings: { pool } })).queue;
const fallSilent = (dispatcher: number) => database.sql`
  update errand.dispatcher set seen_at = now() - interval '16 s' where id = ${dispatcher}`;

const HELD = {
  openCircuits: [{ origin: 'https://a.example', probeAt: '2026-01-02T03:04:05.678Z' }],
  rateShare: 0.25,
};

/** A dispatcher that owns every shard of the pool, also those of `dead`. */
async function own(pool: string, ...dead: number[]): Promise<number> {
  const dispatcher = await enter(pool);
  await takeShards(database.sql, { pool, dispatcher, dead, limit: 64 });
  return dispatcher;
}

async function countRows(queue: number): Promise<number> {
  return (await database.sql`select from errand.queue_status where queue = ${queue}`).length;
}

describe('readQueueStatus()', () => {
  it('is served while a dispatcher of its pool was seen within 15 s', async () => {
    const queue = await put('seen', 'seen');
    await enter('other');
    expect(await readQueueStatus(database.sql, queue)).toEqual({
      isServed: false,
      ...PLAIN_STATUS,
    });
    const dispatcher = await enter('seen');
    expect((await readQueueStatus(database.sql, queue)).isServed).toBe(true);
    await fallSilent(dispatcher);
    expect((await readQueueStatus(database.sql, queue)).isServed).toBe(false);
  });

  it('tells what the owner wrote last', async () => {
    const [one, other] = [await put('told', 'told'), await put('told-too', 'told')];
    const owner = await own('told');
    await writeQueueStatus(database.sql, owner, [
      { queue: other.id, status: HELD },
      { queue: one.id, status: PLAIN_STATUS },
    ]);
    expect(await readQueueStatus(database.sql, other)).toEqual({ isServed: true, ...HELD });
    await writeQueueStatus(database.sql, owner, [{ queue: other.id, status: PLAIN_STATUS }]);
    expect(await readQueueStatus(database.sql, other)).toMatchObject(PLAIN_STATUS);
  });

  it('tells nothing of an owner that is silent, or whose queue is another’s by now', async () => {
    const queue = await put('handed-on', 'handed-on');
    const owner = await own('handed-on');
    const statusOf = () => readQueueStatus(database.sql, queue);
    await writeQueueStatus(database.sql, owner, [{ queue: queue.id, status: HELD }]);
    await fallSilent(owner);
    expect(await statusOf()).toEqual({ isServed: false, ...PLAIN_STATUS });
    const next = await own('handed-on', owner);
    await beat(database.sql, owner);
    expect(await statusOf()).toEqual({ isServed: true, ...PLAIN_STATUS });
    await writeQueueStatus(database.sql, next, [{ queue: queue.id, status: HELD }]);
    await writeQueueStatus(database.sql, owner, [{ queue: queue.id, status: PLAIN_STATUS }]);
    expect(await statusOf()).toEqual({ isServed: true, ...HELD });
  });

  it('is not served by a dispatcher that is leaving', async () => {
    const queue = await put('left', 'left');
    await announceLeaving(database.sql, await own('left'));
    expect((await readQueueStatus(database.sql, queue)).isServed).toBe(false);
    const unserved = await listUnservedPools(database.sql);
    expect(unserved).toContainEqual({ pool: 'left', queues: 1 });
  });

  it('is served by a drain of this queue, and not by that of another', async () => {
    const [queue, other] = [await put('drained', 'drained'), await put('waiting', 'drained')];
    await registerDispatcher(database.sql, {
      pool: 'drained',
      host: 'box',
      pid: 1,
      onlyQueue: queue.id,
    });
    expect((await readQueueStatus(database.sql, queue)).isServed).toBe(true);
    expect((await readQueueStatus(database.sql, other)).isServed).toBe(false);
    const unserved = await listUnservedPools(database.sql);
    expect(unserved).toContainEqual({ pool: 'drained', queues: 2 });
  });

  it('goes with its queue, and is not written again', async () => {
    const queue = await put('deleted', 'deleted');
    const owner = await own('deleted');
    const write = () => writeQueueStatus(database.sql, owner, [{ queue: queue.id, status: HELD }]);
    await write();
    expect(await countRows(queue.id)).toBe(1);
    await deleteQueue(database.sql, { project: 'default', name: 'deleted', force: false });
    expect(await countRows(queue.id)).toBe(0);
    await write();
    expect(await countRows(queue.id)).toBe(0);
  });

  it('is written for no queue at all without complaint', async () => {
    await expect(writeQueueStatus(database.sql, 1, [])).resolves.toBeUndefined();
  });
});

describe('deleteStrayStatuses()', () => {
  it('deletes what the gone said and what was said of deleted queues, and nothing else', async () => {
    const names = ['kept', 'orphaned', 'late'] as const;
    const [kept, orphaned, late] = await Promise.all(names.map((name) => put(name, name)));
    for (const queue of [kept!, orphaned!, late!]) {
      const dispatcher = await own(queue.pool);
      await writeQueueStatus(database.sql, dispatcher, [{ queue: queue.id, status: HELD }]);
    }
    await database.sql`delete from errand.dispatcher where pool = 'orphaned'`;
    // A status that was being written while its queue was deleted.
    await database.sql`update errand.queue set deleted_at = now() where id = ${late!.id}`;
    await deleteStrayStatuses(database.sql);
    const left = [kept!, orphaned!, late!].map(({ id }) => countRows(id));
    expect(await Promise.all(left)).toEqual([1, 0, 0]);
  });
});

describe('listDispatchers()', () => {
  it('lists the shards of each in order, and whether it is live', async () => {
    await put('listed', 'listed');
    const owner = await enter('listed');
    const idle = await enter('listed');
    await takeShards(database.sql, { pool: 'listed', dispatcher: owner, dead: [], limit: 64 });
    await fallSilent(idle);
    const listed = await listDispatchers(database.sql);
    expect(listed.filter(({ pool }) => pool === 'listed')).toMatchObject([
      { id: owner, isLive: true, shards: Array.from({ length: 64 }, (_, shard) => shard) },
      { id: idle, isLive: false, shards: [] },
    ]);
  });
});

describe('listUnservedPools()', () => {
  it('finds the pools with queues and without a live dispatcher', async () => {
    await put('lonely-1', 'lonely');
    await put('lonely-2', 'lonely');
    const find = async () =>
      (await listUnservedPools(database.sql)).find(({ pool }) => pool === 'lonely');
    expect(await find()).toEqual({ pool: 'lonely', queues: 2 });
    await enter('lonely');
    expect(await find()).toBeUndefined();
  });
});
