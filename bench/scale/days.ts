import type { Sql } from '../../src/store/database.ts';

/** Makes the day partitions of the past, as a system has them that has run for so many days. */
export async function createDays(sql: Sql, daysBack: number): Promise<void> {
  await sql.unsafe(`
    do $$ declare
      first date := (now() at time zone 'utc')::date - ${daysBack};
      day date;
      part text;
      parent text;
    begin
      for day in select first + n from generate_series(0, ${daysBack}) n loop
        foreach parent in array array['task', 'finished', 'attempt'] loop
          part := parent || '_' || to_char(day, 'YYYYMMDD');
          continue when to_regclass('errand.' || part) is not null;
          execute format('create table errand.%I (like errand.%I including all)', part, parent);
          execute format('alter table errand.%I attach partition errand.%I for values from (%L) to (%L)',
            parent, part, errand.lowest_task_id(day::timestamp at time zone 'utc'),
            errand.lowest_task_id((day + 1)::timestamp at time zone 'utc'));
        end loop;
      end loop;
    end $$`);
}
