import { describe, expect, it } from 'vitest';
import { findNextHeads, findWork } from '../../src/store/find-work.ts';
import { createQueue, fill } from './lease-fixture.ts';
import { useDatabase } from './task-fixture.ts';

const database = useDatabase();

describe('findWork()', () => {
  it('returns the head of each (shard, queue, rank) once, with the version of its queue', async () => {
    const queues = await Promise.all(
      [5, 5, 7, 8].map((shard) => createQueue(database.sql, { shard })),
    );
    const ranks = [0, 3, -3, 0, 3, -3, 0];
    for (const queue of queues) await fill(database.sql, queue, ...ranks.map((rank) => ({ rank })));
    await fill(database.sql, queues[0]!, { delaySeconds: 60, rank: 9 });
    const { heads } = await findWork(database.sql, 'default', [7, 5, 6]);
    const rows = await database.sql`
      select shard, queue, rank, min(seq) as seq from errand.ready where shard in (5, 7)
      group by shard, queue, rank order by queue, rank`;
    expect(heads).toHaveLength(9);
    expect(heads.toSorted((a, b) => a.queue - b.queue || a.rank - b.rank)).toEqual(
      rows.map((row) => ({ ...row, version: 1 })),
    );
  });

  it('leaves out queues of another pool', async () => {
    const queue = await createQueue(database.sql, { shard: 9 });
    await fill(database.sql, queue, {});
    await database.sql`update errand.queue set pool = 'batch' where id = ${queue.queue}`;
    expect((await findWork(database.sql, 'default', [9])).heads).toEqual([]);
    const { heads } = await findWork(database.sql, 'batch', [9]);
    expect(heads).toMatchObject([{ queue: queue.queue }]);
  });

  it('returns nothing when nothing is ready or scheduled', async () => {
    const nothing = { heads: [], nextDueInSeconds: null };
    expect(await findWork(database.sql, 'default', [1, 2, 3])).toEqual(nothing);
    expect(await findWork(database.sql, 'default', [])).toEqual(nothing);
  });

  it('tells when the first scheduled task of these shards is due, and that it is due already', async () => {
    const [near, far] = [
      await createQueue(database.sql, { shard: 10 }),
      await createQueue(database.sql, { shard: 11 }),
    ];
    await fill(database.sql, near, { delaySeconds: 60 }, { delaySeconds: 30 });
    await fill(database.sql, far, { delaySeconds: 3_000 });
    const dueIn = async (shards: number[]) =>
      (await findWork(database.sql, 'default', shards)).nextDueInSeconds!;
    expect(await dueIn([11])).toBeGreaterThan(2_900);
    expect(await dueIn([10, 11])).toBeGreaterThan(20);
    expect(await dueIn([10, 11])).toBeLessThanOrEqual(30);
    await database.sql`update errand.scheduled set due_at = now() where shard = 11`;
    expect(await dueIn([10, 11])).toBeLessThanOrEqual(0);
  });
});

describe('findNextHeads()', () => {
  it('returns the first ready task past each place, with the version of its queue', async () => {
    const queues = await Promise.all([20, 21].map((shard) => createQueue(database.sql, { shard })));
    for (const queue of queues) await fill(database.sql, queue, {}, {}, { rank: 3 });
    const rows = await database.sql<{ shard: number; queue: number; rank: number; seq: string }[]>`
      select shard, queue, rank, seq from errand.ready where shard in (20, 21) order by shard, rank, seq`;
    const [first, second, other, ...ofNext] = rows;
    const beyond = { ...other!, seq: String(BigInt(other!.seq) + 1_000n) };
    const found = await findNextHeads(database.sql, 'default', [first!, beyond, ofNext[1]!]);
    expect(found).toEqual([{ ...second, version: 1 }]);
    const start = { ...ofNext[0]!, seq: '0' };
    expect(await findNextHeads(database.sql, 'default', [start])).toEqual([
      { ...ofNext[0], version: 1 },
    ]);
  });

  it('leaves out queues of another pool', async () => {
    const queue = await createQueue(database.sql, { shard: 22 });
    await fill(database.sql, queue, {});
    const place = { shard: 22, queue: queue.queue, rank: 0, seq: '0' };
    expect(await findNextHeads(database.sql, 'batch', [place])).toEqual([]);
    expect(await findNextHeads(database.sql, 'default', [place])).toHaveLength(1);
  });
});
