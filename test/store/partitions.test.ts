import { describe, expect, it } from 'vitest';
import { isDayOver, thinDay } from '../../src/store/housekeeping.ts';
import { createPartitions, dropDay, listEndedDays } from '../../src/store/partitions.ts';
import { createQueue, fill, openTransaction } from './lease-fixture.ts';
import { useDatabase } from './task-fixture.ts';

const database = useDatabase(8);
const TABLES = ['task', 'finished', 'attempt'];

/** Days from today on; negative = past. */
async function dayOf(offset: number): Promise<string> {
  const [row] = await database.sql`
    select to_char(now() at time zone 'utc' + make_interval(days => ${offset}), 'YYYYMMDD') as day`;
  return row!.day;
}

/** The days of each table's partitions. */
async function daysOf(table: string): Promise<string[]> {
  const rows = await database.sql<{ name: string }[]>`
    select c.relname as name from pg_inherits i join pg_class c on c.oid = i.inhrelid
    where i.inhparent = ${`errand.${table}`}::regclass order by 1`;
  return rows.map(({ name }) => name.slice(table.length + 1));
}

/** Makes a past day's partitions, as they were made when it was to come. */
async function makePast(offset: number): Promise<string> {
  const day = await dayOf(offset);
  for (const table of TABLES) {
    await database.sql.unsafe(`
      do $$ begin execute format(
        'create table errand.${table}_${day} partition of errand.${table} for values from (%L) to (%L)',
        errand.lowest_task_id(timestamp '${day}' at time zone 'utc'),
        errand.lowest_task_id((timestamp '${day}' + interval '1 day') at time zone 'utc'));
      end $$`);
  }
  return day;
}

/** Tasks of a past day, each in each of its tables; `retained` in seconds from now, null = it lives. */
async function addTasks(day: string, ...retained: (number | null)[]): Promise<string[]> {
  const ids: string[] = [];
  for (const seconds of retained) {
    const [row] = await database.sql<{ id: string }[]>`
      with made as (
        insert into errand.task (shard, id, step, queue, rank, url, method, body, scheduled_at, created_at)
        select 0, errand.task_id((to_timestamp(${day}, 'YYYYMMDD')::timestamp + interval '5 hours')
          at time zone 'utc', 0, gen_random_uuid()), 0, 1, 0, 'http://127.0.0.1:9/', 'POST', '', now(), now()
        returning id
      ), log as (
        insert into errand.attempt (shard, task, lease_id, step, attempt, dispatcher, outcome, settlement,
          started_at, finished_at, duration_ms)
        select 0, id, gen_random_uuid(), 0, 1, 1, 'responded', 'succeed', now(), now(), 1 from made
      ), done as (
        insert into errand.finished (shard, task, queue, state, step, attempt, finished_at, retained_until)
        select 0, id, 1, 'succeeded', 0, 1, now(), now() + make_interval(secs => ${seconds ?? 0})
        from made where ${seconds !== null}
      )
      select id from made`;
    ids.push(row!.id);
  }
  return ids;
}

async function rowsOf(table: string, day: string): Promise<number> {
  const [row] = await database.sql`
    select count(*)::integer as rows from ${database.sql(`errand.${table}_${day}`)}`;
  return row!.rows;
}

describe('createPartitions()', () => {
  it('makes the days from yesterday on, and nothing when they are there', async () => {
    await createPartitions(database.sql, 9);
    const expected = await Promise.all(Array.from({ length: 11 }, (_, index) => dayOf(index - 1)));
    for (const table of TABLES) expect(await daysOf(table)).toEqual(expected);
    await createPartitions(database.sql, 9);
    for (const table of TABLES) expect(await daysOf(table)).toEqual(expected);
  });

  it('makes each day once when several processes do', async () => {
    await Promise.all([1, 2, 3, 4].map(() => createPartitions(database.sql, 14)));
    for (const table of TABLES) expect(await daysOf(table)).toHaveLength(16);
  });

  it('gives a task of today the partition of today', async () => {
    const [id] = await fill(database.sql, await createQueue(database.sql), {});
    const [row] = await database.sql`
      select c.relname as name from errand.task t join pg_class c on c.oid = t.tableoid
      where t.id = ${id!}`;
    const days = [await dayOf(0), await dayOf(-1)];
    expect(days.map((day) => `task_${day}`)).toContain(row!.name);
  });

  it('gives up soon when another holds a lock, and leaves nothing behind', async () => {
    const before = await daysOf('task');
    const other = await openTransaction(database.sql);
    await other.sql`lock table errand.finished in access exclusive mode`;
    const failed = createPartitions(database.sql, 20);
    await expect(failed).rejects.toMatchObject({ code: '55P03' });
    await other.commit();
    for (const table of TABLES) expect(await daysOf(table)).toEqual(before);
    await createPartitions(database.sql, 15);
    expect(await daysOf('task')).toHaveLength(17);
  });
});

describe('listEndedDays()', () => {
  it('lists the days before yesterday, oldest first', async () => {
    const days = [await makePast(-3), await makePast(-2), await makePast(-40)];
    expect(await listEndedDays(database.sql)).toEqual([days[2], days[0], days[1]]);
    for (const day of days) await dropDay(database.sql, day);
    expect(await listEndedDays(database.sql)).toEqual([]);
  });
});

describe('isDayOver()', () => {
  it('is true when nothing in the day lives or is retained', async () => {
    const day = await makePast(-50);
    expect(await isDayOver(database.sql, day)).toBe(true);
    await addTasks(day, -1, -100_000);
    expect(await isDayOver(database.sql, day)).toBe(true);
    const [alive] = await addTasks(day, null);
    expect(await isDayOver(database.sql, day)).toBe(false);
    await database.sql`delete from errand.task where id = ${alive!}`;
    expect(await isDayOver(database.sql, day)).toBe(true);
    await addTasks(day, 60);
    expect(await isDayOver(database.sql, day)).toBe(false);
  });

  it('is false for a day that has not ended', async () => {
    expect(await isDayOver(database.sql, await dayOf(0))).toBe(false);
    expect(await isDayOver(database.sql, await dayOf(3))).toBe(false);
  });
});

describe('dropDay()', () => {
  it('drops the day from every table, or from none while another holds a lock', async () => {
    const day = await makePast(-60);
    const other = await openTransaction(database.sql);
    await other.sql`lock table ${other.sql(`errand.attempt_${day}`)} in access share mode`;
    await expect(dropDay(database.sql, day)).rejects.toMatchObject({ code: '55P03' });
    for (const table of TABLES) expect(await daysOf(table)).toContain(day);
    await other.commit();
    await dropDay(database.sql, day);
    for (const table of TABLES) expect(await daysOf(table)).not.toContain(day);
    await dropDay(database.sql, day);
  });

  it('refuses what is no day', async () => {
    await expect(dropDay(database.sql, '20200101; drop table x')).rejects.toThrow('YYYYMMDD');
  });
});

describe('thinDay()', () => {
  it('deletes what expired over a day ago, batch by batch, and nothing else', async () => {
    const day = await makePast(-70);
    const old = -90_000;
    await addTasks(day, old, old, 60, -60, null, old, old, old);
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
