import type { NamedCalendar } from '../model.ts';
import type { ActiveWindow, BusinessCalendar } from '../protocol/resources.ts';
import type { Sql } from './database.ts';
import { sqlState } from './errors.ts';

/** A calendar as the store gives it. */
export interface CalendarRecord extends NamedCalendar {
  updatedAt: Date;
}

interface CalendarRow {
  name: string;
  settings: BusinessCalendar;
  updated_at: Date;
}

const FOREIGN_KEY_VIOLATION = '23503';

/**
 * Creates a calendar or replaces it, and raises the version of the queues that name it, so that their
 * owners load it anew. A queue that begins to name it in the same instant may be loaded with the old
 * one; its owner's next look at all its queues mends that.
 *
 * Index: primary key; the table of queues, which is small, is read whole. Locks the calendar's row, then
 * the queues'. Safe to repeat.
 */
export async function putCalendar(
  sql: Sql,
  input: { project: string; name: string; settings: BusinessCalendar },
): Promise<{ calendar: CalendarRecord; isCreated: boolean }> {
  const { project, name } = input;
  const rows = await sql<(CalendarRow & { is_created: boolean })[]>`
    with saved as (
      insert into errand.calendar as c (project, name, settings)
      values (${project}, ${name}, ${JSON.stringify(input.settings)}::text::jsonb)
      on conflict (project, name) do update
      set settings = excluded.settings, version = c.version + 1, updated_at = now()
      returning name, settings, updated_at, xmax = 0 as is_created
    ),
    told as (
      update errand.queue q set version = q.version + 1 from saved
      where q.project = ${project} and q.calendar = saved.name
    )
    select name, settings, updated_at, is_created from saved
  `;
  return { calendar: toCalendar(rows[0]!), isCreated: rows[0]!.is_created };
}

/** Index: primary key. No locks. Null when the project has no such calendar. */
export async function findCalendar(
  sql: Sql,
  project: string,
  name: string,
): Promise<CalendarRecord | null> {
  const [row] = await sql<CalendarRow[]>`
    select name, settings, updated_at from errand.calendar
    where project = ${project} and name = ${name}
  `;
  return row ? toCalendar(row) : null;
}

/** Windows that queues have beside a calendar. */
export interface CalendarUse {
  windows: ActiveWindow[];
  /** The first by name of the queues that have just these. */
  queue: string;
}

/** The different windows of the queues that name a calendar. Reads the table of queues. No locks. */
export async function listCalendarUses(
  sql: Sql,
  project: string,
  name: string,
): Promise<CalendarUse[]> {
  return sql<CalendarUse[]>`
    select coalesce(q.settings -> 'activeWindows', '[]') as windows, min(q.name) as queue
    from errand.queue q where q.project = ${project} and q.calendar = ${name}
    group by 1 order by 2
  `;
}

/** A page of a project's calendars by name, those after `afterName`. Index: primary key. No locks. */
export async function listCalendars(
  sql: Sql,
  input: { project: string; afterName: string; limit: number },
): Promise<CalendarRecord[]> {
  const rows = await sql<CalendarRow[]>`
    select name, settings, updated_at from errand.calendar
    where project = ${input.project} and name > ${input.afterName}
    order by name limit ${input.limit}
  `;
  return rows.map(toCalendar);
}

export type CalendarDeletion = 'deleted' | 'not-found' | 'in-use';

/**
 * Deletes a calendar unless a queue names it: the foreign key sees also the queue that another process
 * is just committing. Index: primary key; reads the table of queues. Safe to repeat.
 */
export async function deleteCalendar(
  sql: Sql,
  project: string,
  name: string,
): Promise<CalendarDeletion> {
  try {
    const { count } = await sql`
      delete from errand.calendar where project = ${project} and name = ${name}
    `;
    return count > 0 ? 'deleted' : 'not-found';
  } catch (error) {
    if (sqlState(error) === FOREIGN_KEY_VIOLATION) return 'in-use';
    throw error;
  }
}

function toCalendar({ name, settings, updated_at }: CalendarRow): CalendarRecord {
  return { name, ...settings, updatedAt: updated_at };
}
