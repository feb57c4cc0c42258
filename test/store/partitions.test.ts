import { describe, expect, it } from 'vitest';
import { isDayOver, thinDay } from '../../src/store/housekeeping.ts';
import { createPartitions, dropDay, listEndedDays } from '../../src/store/partitions.ts';
import { addTasks, dayOf, daysOf, makePast, TABLES } from './days-fixture.ts';
import { createQueue, fill, openTransaction } from './lease-fixture.ts';
import { useDatabase } from './task-fixture.ts';

const database = useDatabase(8);
async function rowsOf(table: string, day: string): Promise<number> {
  const [row] = await database.sql`
    select count(*)::integer as rows from ${database.sql(`errand.${table}_${day}`)}`;
  return row!.rows;
}

describe('createPartitions()', () => {
  it('makes the days from yesterday on, and nothing when they are there', async () => {
    await createPartitions(database.sql, 9);
    const expected = await Promise.all(
      Array.from({ length: 11 }, (_, index) => dayOf(database.sql, index - 1)),
    );
    for (const table of TABLES) expect(await daysOf(database.sql, table)).toEqual(expected);
    await createPartitions(database.sql, 9);
    for (const table of TABLES) expect(await daysOf(database.sql, table)).toEqual(expected);
  });

  it('makes each day once when several processes do', async () => {
    await Promise.all([1, 2, 3, 4].map(() => createPartitions(database.sql, 14)));
    for (const table of TABLES) expect(await daysOf(database.sql, table)).toHaveLength(16);
  });

  it('gives a task of today the partition of today', async () => {
    const [id] = await fill(database.sql, await createQueue(database.sql), {});
    const [row] = await database.sql`
      select c.relname as name from errand.task t join pg_class c on c.oid = t.tableoid
      where t.id = ${id!}`;
    const days = [await dayOf(database.sql, 0), await dayOf(database.sql, -1)];
    expect(days.map((day) => `task_${day}`)).toContain(row!.name);
  });

  it('gives up soon when another holds a lock, and leaves nothing behind', async () => {
    const before = await daysOf(database.sql, 'task');
    const other = await openTransaction(database.sql);
    await other.sql`lock table errand.finished in access exclusive mode`;
    const failed = createPartitions(database.sql, 20);
    await expect(failed).rejects.toMatchObject({ code: '55P03' });
    await other.commit();
    for (const table of TABLES) expect(await daysOf(database.sql, table)).toEqual(before);
    await createPartitions(database.sql, 15);
    expect(await daysOf(database.sql, 'task')).toHaveLength(17);
  });
});

describe('listEndedDays()', () => {
  it('lists the days before yesterday, oldest first', async () => {
    const days = [
      await makePast(database.sql, -3),
      await makePast(database.sql, -2),
      await makePast(database.sql, -40),
    ];
    expect(await listEndedDays(database.sql)).toEqual([days[2], days[0], days[1]]);
    for (const day of days) await dropDay(database.sql, day);
    expect(await listEndedDays(database.sql)).toEqual([]);
  });
});

describe('isDayOver()', () => {
  it('is true when nothing in the day lives or is retained', async () => {
    const day = await makePast(database.sql, -50);
    expect(await isDayOver(database.sql, day)).toBe(true);
    await addTasks(database.sql, day, -1, -100_000);
    expect(await isDayOver(database.sql, day)).toBe(true);
    const [alive] = await addTasks(database.sql, day, null);
    expect(await isDayOver(database.sql, day)).toBe(false);
    await database.sql`delete from errand.task where id = ${alive!}`;
    expect(await isDayOver(database.sql, day)).toBe(true);
    await addTasks(database.sql, day, 60);
    expect(await isDayOver(database.sql, day)).toBe(false);
  });

  it('is false for a day that has not ended', async () => {
    expect(await isDayOver(database.sql, await dayOf(database.sql, 0))).toBe(false);
    expect(await isDayOver(database.sql, await dayOf(database.sql, 3))).toBe(false);
  });
});

describe('dropDay()', () => {
  it('drops the day from every table, or from none while another holds a lock', async () => {
    const day = await makePast(database.sql, -60);
    const other = await openTransaction(database.sql);
    await other.sql`lock table ${other.sql(`errand.attempt_${day}`)} in access share mode`;
    await expect(dropDay(database.sql, day)).rejects.toMatchObject({ code: '55P03' });
    for (const table of TABLES) expect(await daysOf(database.sql, table)).toContain(day);
    await other.commit();
    await dropDay(database.sql, day);
    for (const table of TABLES) expect(await daysOf(database.sql, table)).not.toContain(day);
    await dropDay(database.sql, day);
  });

  it('refuses what is no day', async () => {
    await expect(dropDay(database.sql, '20200101; drop table x')).rejects.toThrow('YYYYMMDD');
  });
});

describe('thinDay()', () => {
  it('deletes what expired over a day ago, batch by batch, and nothing else', async () => {
    const day = await makePast(database.sql, -70);
    const old = -90_000;
    await addTasks(database.sql, day, old, old, 60, -60, null, old, old, old);
    let after: { shard: number; task: string } | null = {
      shard: -1,
      task: '00000000-0000-0000-0000-000000000000',
    };
    const deleted: number[] = [];
    while (after !== null) {
      const from: { shard: number; task: string } = after;
      const batch = await thinDay(database.sql, day, { after: from, limit: 3 });
      deleted.push(batch.deleted);
      after = batch.next;
    }
    expect(deleted.reduce((sum, count) => sum + count)).toBe(5);
    expect(deleted).toHaveLength(3);
    expect([await rowsOf('task', day), await rowsOf('finished', day)]).toEqual([3, 2]);
    expect(await rowsOf('attempt', day)).toBe(3);
  });
});
