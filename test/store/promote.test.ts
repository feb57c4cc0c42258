import { afterAll, beforeEach, describe, expect, it } from 'vitest';
import { promoteDue } from '../../src/store/promote.ts';
import { verifyRooms } from '../../src/store/verify.ts';
import { createQueue, fill, openTransaction, roomsOf, type TestQueue } from './lease-fixture.ts';
import { useDatabase } from './task-fixture.ts';

const database = useDatabase();
/** Each test has a shard of its own. */
let shard = 0;
let queue: TestQueue;

beforeEach(async () => {
  shard += 1;
  queue = await createQueue(database.sql, { shard });
});

afterAll(async () => {
  expect((await verifyRooms(database.sql)).problems).toEqual([]);
});

function promote(fields: Partial<Parameters<typeof promoteDue>[1]> = {}) {
  return promoteDue(database.sql, { shards: [shard], limit: 100, fromSeconds: null, ...fields });
}

/** Schedules tasks, then lets time pass: each is due so many seconds ago. */
async function overdue(of: TestQueue, ...tasks: { ago: number; rank?: number }[]) {
  const rows = tasks.map(({ rank = 0 }) => ({ rank, delaySeconds: 1000 }));
  const ids = await fill(database.sql, of, ...rows);
  for (const [index, id] of ids.entries()) {
    await database.sql`
      update errand.scheduled set due_at = now() - make_interval(secs => ${tasks[index]!.ago})
      where task = ${id}`;
  }
  return ids;
}

async function readyOrder(of: TestQueue): Promise<string[]> {
  const rows = await database.sql<{ task: string }[]>`
    select task from errand.ready where queue = ${of.queue} order by rank, seq`;
  return rows.map(({ task }) => task.replaceAll('-', ''));
}

describe('promoteDue()', () => {
  it('moves what is due, the earliest first, and tells when the next is', async () => {
    const [later, earlier] = await overdue(queue, { ago: 1 }, { ago: 5 });
    await fill(database.sql, queue, { delaySeconds: 30 }, { delaySeconds: 20 });
    const promoted = await promote();
    expect(await readyOrder(queue)).toEqual([earlier, later]);
    expect(promoted.isFull).toBe(false);
    expect(promoted.nextDueInSeconds).toBeGreaterThan(15);
    expect(promoted.nextDueInSeconds).toBeLessThanOrEqual(20);
    expect(await promote()).toMatchObject({ heads: [], isFull: false });
    expect(await readyOrder(queue)).toHaveLength(2);
  });

  it('tells of nothing when nothing is scheduled', async () => {
    expect(await promote()).toEqual({ heads: [], isFull: false, nextDueInSeconds: null });
    expect(await promote({ shards: [] })).toMatchObject({ heads: [], nextDueInSeconds: null });
  });

  it('returns the lowest new place of each queue and rank', async () => {
    const other = await createQueue(database.sql, { shard });
    await overdue(queue, { ago: 3, rank: 2 }, { ago: 2, rank: 2 }, { ago: 1, rank: -1 });
    await overdue(other, { ago: 4 });
    const { heads } = await promote();
    const rows = await database.sql`
      select shard, queue, rank, min(seq) as seq from errand.ready where shard = ${shard}
      group by shard, queue, rank order by queue, rank`;
    const byPlace = heads.toSorted((a, b) => a.queue - b.queue || a.rank - b.rank);
    expect(byPlace).toEqual([...rows]);
    expect(byPlace).toHaveLength(3);
  });

  it('carries attempts, the first of them and the last status over', async () => {
    const [id] = await overdue(queue, { ago: 1 });
    await database.sql`
      update errand.scheduled set attempt = 4, previous_status = 503, step = 0,
        first_attempt_at = '2026-01-02T03:04:05Z' where task = ${id!}`;
    await promote();
    const [row] = await database.sql`select * from errand.ready where task = ${id!}`;
    expect(row).toMatchObject({ attempt: 4, previous_status: 503, queue: queue.queue });
    expect(row!.first_attempt_at).toEqual(new Date('2026-01-02T03:04:05Z'));
  });

  it('takes at most its limit of each shard, and says that there may be more', async () => {
    const second = await createQueue(database.sql, { shard: shard + 30 });
    await overdue(queue, ...[5, 4, 3].map((ago) => ({ ago })));
    await overdue(second, ...[5, 4].map((ago) => ({ ago })));
    const shards = [shard, shard + 30];
    expect(await promote({ shards, limit: 2 })).toMatchObject({ isFull: true });
    expect([await readyOrder(queue), await readyOrder(second)].map((l) => l.length)).toEqual([
      2, 2,
    ]);
    expect(await promote({ shards, limit: 2 })).toMatchObject({ isFull: false });
    expect(await readyOrder(queue)).toHaveLength(3);
  });

  it('looks back only as far as it is told', async () => {
    const [old, recent] = await overdue(queue, { ago: 60 }, { ago: 2 });
    await promote({ fromSeconds: 5 });
    expect(await readyOrder(queue)).toEqual([recent]);
    await promote();
    expect(await readyOrder(queue)).toEqual([recent, old]);
  });

  it('leaves other shards alone', async () => {
    const [id] = await overdue(queue, { ago: 1 });
    await promote({ shards: [shard + 20] });
    expect(await roomsOf(database.sql, id!)).toEqual(['scheduled']);
  });

  it('two at once promote each task once, and wait for nobody', async () => {
    const ids = await overdue(queue, ...Array.from({ length: 30 }, (_, ago) => ({ ago })));
    const other = await openTransaction(database.sql);
    await promoteDue(other.sql, { shards: [shard], limit: 10, fromSeconds: null });
    await promote({ limit: 10 });
    await other.commit();
    await Promise.all([promote(), promote(), promote()]);
    expect((await readyOrder(queue)).sort()).toEqual(ids.sort());
  });
});
