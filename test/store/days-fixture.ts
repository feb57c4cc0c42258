import type { Sql } from '../../src/store/database.ts';

export const TABLES = ['task', 'finished', 'attempt'];

/** Days from today on; negative = past. */
export async function dayOf(sql: Sql, offset: number): Promise<string> {
  const [row] = await sql`
    select to_char(now() at time zone 'utc' + make_interval(days => ${offset}), 'YYYYMMDD') as day`;
  return row!.day;
}

/** The days of each table's partitions. */
export async function daysOf(sql: Sql, table: string): Promise<string[]> {
  const rows = await sql<{ name: string }[]>`
    select c.relname as name from pg_inherits i join pg_class c on c.oid = i.inhrelid
    where i.inhparent = ${`errand.${table}`}::regclass order by 1`;
  return rows.map(({ name }) => name.slice(table.length + 1));
}

/** Makes a past day's partitions, as they were made when it was to come. */
export async function makePast(sql: Sql, offset: number): Promise<string> {
  const day = await dayOf(sql, offset);
  for (const table of TABLES) {
    await sql.unsafe(`
      do $$ begin execute format(
        'create table errand.${table}_${day} partition of errand.${table} for values from (%L) to (%L)',
        errand.lowest_task_id(timestamp '${day}' at time zone 'utc'),
        errand.lowest_task_id((timestamp '${day}' + interval '1 day') at time zone 'utc'));
      end $$`);
  }
  return day;
}

/** Tasks of a past day, each in each of its tables; `retained` in seconds from now, null = it lives. */
export async function addTasks(
  sql: Sql,
  day: string,
  ...retained: (number | null)[]
): Promise<string[]> {
  const ids: string[] = [];
  for (const seconds of retained) {
    const [row] = await sql<{ id: string }[]>`
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
