import { describe, expect, it } from 'vitest';
import { SHARDS } from '../../src/model.ts';
import type { PartialQueueSettings } from '../../src/store/queue.ts';
import { patchQueue, putQueue } from '../../src/store/queue-change.ts';
import { useDatabase } from './task-fixture.ts';

const database = useDatabase();
const project = 'default';

const put = async (name: string, settings: PartialQueueSettings) =>
  (await putQueue(database.sql, { project, name, settings })).queue;
const patch = async (name: string, settings: PartialQueueSettings) =>
  (await patchQueue(database.sql, { project, name, settings }))!;

async function ownableShards(pool: string): Promise<number> {
  const rows = await database.sql`select shard from errand.ownership where pool = ${pool}`;
  return rows.length;
}

describe('putQueue()', () => {
  it('makes a queue in its pool, whose shards can be owned then', async () => {
    const queue = await put('made', { pool: 'made-in' });
    expect(queue).toMatchObject({ pool: 'made-in', poolChangedAt: null });
    expect(queue.settings.pool).toBe('made-in');
    expect(await ownableShards('made-in')).toBe(SHARDS);
    await put('made', { pool: 'made-in' });
    expect(await ownableShards('made-in')).toBe(SHARDS);
  });

  it('moves a queue to another pool, or back to the default, and notes when', async () => {
    const { shard } = await put('moved', {});
    const moved = await put('moved', { pool: 'moved-to' });
    expect(moved).toMatchObject({ pool: 'moved-to', shard, poolChangedAt: expect.any(Date) });
    expect(await ownableShards('moved-to')).toBe(SHARDS);
    expect(await put('moved', { pool: 'moved-to', weight: 2 })).toMatchObject({
      poolChangedAt: moved.poolChangedAt,
    });
    expect((await put('moved', {})).pool).toBe('default');
  });

  it('leaves the ownership of a pool that is served as it is', async () => {
    await put('served', { pool: 'served' });
    await database.sql`update errand.ownership set dispatcher = 7, epoch = 3 where pool = 'served'`;
    await put('served', {});
    await put('served', { pool: 'served' });
    const owners = await database.sql`
      select distinct dispatcher, epoch from errand.ownership where pool = 'served'`;
    expect(owners).toEqual([{ dispatcher: 7, epoch: '3' }]);
  });
});

describe('patchQueue()', () => {
  it('moves a queue only when it names another pool', async () => {
    await put('patched', { pool: 'first' });
    const patched = await patch('patched', { weight: 3 });
    expect(patched).toMatchObject({ pool: 'first', poolChangedAt: null });
    const moved = await patch('patched', { pool: 'second' });
    expect(moved).toMatchObject({ pool: 'second', poolChangedAt: expect.any(Date) });
    expect(moved.settings).toMatchObject({ pool: 'second', weight: 3 });
    expect(await ownableShards('second')).toBe(SHARDS);
    const stays = await patch('patched', { pool: 'second' });
    expect(stays.poolChangedAt).toEqual(moved.poolChangedAt);
  });
});
