import { describe, expect, it } from 'vitest';
import { registerDispatcher, takeShards } from '../../src/store/ownership.ts';
import { listDispatchers, listUnservedPools } from '../../src/store/ownership-list.ts';
import { putQueue } from '../../src/store/queue-change.ts';
import { PLAIN_STATUS, readQueueStatus, writeQueueStatus } from '../../src/store/queue-status.ts';
import { useDatabase } from './task-fixture.ts';

const database = useDatabase();

const enter = (pool: string) =>
  registerDispatcher(database.sql, { pool, host: 'box', pid: process.pid });
const put = async (name: string, pool: string) =>
  (await putQueue(database.sql, { project: 'default', name, settings: { pool } })).queue;
const fallSilent = (dispatcher: number) => database.sql`
  update errand.dispatcher set seen_at = now() - interval '16 s' where id = ${dispatcher}`;

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
    const [one, other] = [await put('told', 'default'), await put('told-too', 'default')];
    const probeAt = '2026-01-02T03:04:05.678Z';
    const held = {
      closedUntil: '2026-01-02T04:00:00.000Z',
      openCircuits: [{ origin: 'https://a.example', probeAt }],
      rateShare: 0.25,
    };
    await writeQueueStatus(database.sql, 1, [
      { queue: other.id, status: held },
      { queue: one.id, status: PLAIN_STATUS },
    ]);
    expect(await readQueueStatus(database.sql, other)).toMatchObject(held);
    await writeQueueStatus(database.sql, 2, [{ queue: other.id, status: PLAIN_STATUS }]);
    expect(await readQueueStatus(database.sql, other)).toMatchObject(PLAIN_STATUS);
  });

  it('is written for no queue at all without complaint', async () => {
    await expect(writeQueueStatus(database.sql, 1, [])).resolves.toBeUndefined();
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
