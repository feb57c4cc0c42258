import type { Sql } from './database.ts';

/** Tables cut by the day in the task's id. */
const PARTITIONED = ['task', 'finished', 'attempt'] as const;

/**
 * Makes the day partitions from yesterday to `daysAhead` days from now, where they are missing. A
 * partition is made as a table of its own and then attached, which does not stop readers and writers
 * of the others; the locks it needs are waited for at most half a second, so repeat on failure (55P03).
 */
export async function createPartitions(sql: Sql, daysAhead = 7): Promise<void> {
  const days = await sql<{ day: string }[]>`
    select to_char(d, 'YYYYMMDD') as day
    from generate_series(
      date_trunc('day', now() at time zone 'utc') - interval '1 day',
      date_trunc('day', now() at time zone 'utc') + make_interval(days => ${daysAhead}),
      interval '1 day') d
    where to_regclass('errand.attempt_' || to_char(d, 'YYYYMMDD')) is null
       or not exists (
         select from pg_inherits where inhrelid = to_regclass('errand.attempt_' || to_char(d, 'YYYYMMDD')))
  `;
  for (const { day } of days) await createDay(sql, day);
}

/** The days that have partitions, oldest first, as `YYYYMMDD`. */
export async function listDays(sql: Sql): Promise<string[]> {
  const rows = await sql<{ day: string }[]>`
    select substr(c.relname, 6) as day
    from pg_inherits i join pg_class c on c.oid = i.inhrelid
    where i.inhparent = 'errand.task'::regclass order by 1
  `;
  return rows.map((row) => row.day);
}

/** Drops a day's partitions. Only for a day in which nothing lives or is retained. */
export async function dropDay(sql: Sql, day: string): Promise<void> {
  for (const table of PARTITIONED) {
    await sql.unsafe(withLockTimeout(`drop table if exists errand.${table}_${assertDay(day)}`));
  }
}

async function createDay(sql: Sql, day: string): Promise<void> {
  const name = assertDay(day);
  const from = `errand.lowest_task_id(timestamp '${name}' at time zone 'utc')`;
  const to = `errand.lowest_task_id((timestamp '${name}' + interval '1 day') at time zone 'utc')`;
  const attach = PARTITIONED.map(
    (table) => `
      if to_regclass('errand.${table}_${name}') is null then
        create table errand.${table}_${name} (like errand.${table} including all);
        execute format(
          'alter table errand.${table} attach partition errand.${table}_${name} for values from (%L) to (%L)',
          ${from}, ${to});
      end if`,
  );
  await sql.unsafe(
    withLockTimeout(`
      perform pg_advisory_xact_lock(7276881345);
      ${attach.join(';')}`),
  );
}

/** A DO block is one statement and so one transaction: the setting ends with it. */
function withLockTimeout(body: string): string {
  return `do $ddl$ begin
    perform set_config('lock_timeout', '500ms', true);
    ${body};
  end $ddl$`;
}

/** Day names come from the database, but they become part of DDL. */
function assertDay(day: string): string {
  if (!/^\d{8}$/.test(day)) throw new Error(`A partition day must be YYYYMMDD, got ${day}`);
  return day;
}
