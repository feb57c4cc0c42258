import type { Sql } from './database.ts';
import { sqlState } from './errors.ts';

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

/**
 * True for an insert that found no partition for its day: nobody made the coming days in time. A check
 * constraint has the same code, but a name.
 */
export function isPartitionMissing(error: unknown): boolean {
  const constraint = (error as { constraint_name?: string } | null)?.constraint_name;
  return sqlState(error) === '23514' && constraint === undefined;
}

/**
 * The days before yesterday that have partitions, oldest first, as `YYYYMMDD`: those that can have
 * ended. Yesterday is not one, for createPartitions would make it anew.
 */
export async function listEndedDays(sql: Sql): Promise<string[]> {
  const rows = await sql<{ day: string }[]>`
    select d.day
    from pg_inherits i join pg_class c on c.oid = i.inhrelid
    cross join lateral (select substr(c.relname, 6) as day) d
    where i.inhparent = 'errand.task'::regclass
      and d.day < to_char(now() at time zone 'utc' - interval '1 day', 'YYYYMMDD')
    order by d.day
  `;
  return rows.map((row) => row.day);
}

/**
 * Drops a day's partitions, all or none. Only for a day in which nothing lives or is retained. Waits at
 * most half a second for a lock (55P03): everyone who comes after queues up behind the one that waits.
 */
export async function dropDay(sql: Sql, day: string): Promise<void> {
  const name = assertDay(day);
  const drops = PARTITIONED.map((table) => `drop table if exists errand.${table}_${name}`);
  await sql.unsafe(withLockTimeout(drops.join(';\n')));
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
