import type { QueueRecord } from '../model.ts';
import { DEFAULT_POOL, SHARDS } from '../model.ts';
import type { Sql } from './database.ts';
import { sqlState } from './errors.ts';
import {
  firstQueue,
  type PartialQueueSettings,
  type QueueRow,
  queueColumns,
  toQueue,
} from './queue.ts';

const FOREIGN_KEY_VIOLATION = '23503';

/**
 * Creates a queue, or replaces the settings of the one that has the name; it keeps its shard, its
 * tasks and its pause. A new one gets the shard that has the fewest queues of its pool. Throws what
 * `isUnknownCalendar` knows when it names a calendar that the project does not have.
 *
 * Index: `queue_name`. Locks the queue's row, for which it waits while a claim holds it, and its
 * calendar's against deletion. Two that create one name at once both succeed: the second finds the
 * first's row in the conflict and replaces it. The update comes first only because an insert that
 * conflicts uses up an id. Safe to repeat.
 */
export async function putQueue(
  sql: Sql,
  input: { project: string; name: string; settings: PartialQueueSettings },
): Promise<{ queue: QueueRecord; isCreated: boolean }> {
  const { project, name } = input;
  const { pool = DEFAULT_POOL } = input.settings;
  const settings = sql`${JSON.stringify(input.settings)}::text::jsonb`;
  const rows = await sql<(QueueRow & { is_created: boolean })[]>`
    with replaced as (
      update errand.queue q set settings = ${settings}, version = version + 1, updated_at = now(),
        ${movedTo(sql, sql`${pool}`)}
      where project = ${project} and name = ${name} and deleted_at is null
      returning *
    ),
    ${shardsOf(sql, sql`select ${pool}::text as pool`)},
    emptiest as (
      select s.shard from generate_series(0, ${SHARDS - 1}::integer) as s(shard)
      left join errand.queue q on q.shard = s.shard and q.pool = ${pool} and q.deleted_at is null
      group by s.shard order by count(q.id), s.shard limit 1
    ),
    created as (
      insert into errand.queue as q (project, name, shard, pool, settings)
      select ${project}, ${name}, shard, ${pool}, ${settings} from emptiest
      where not exists (select from replaced)
      on conflict (project, name) where deleted_at is null
      do update set settings = excluded.settings, version = q.version + 1, updated_at = now(),
        ${movedTo(sql, sql`excluded.pool`)}
      returning q.*, q.xmax = 0 as is_created
    )
    select ${queueColumns(sql)}, false as is_created from replaced q
    union all
    select ${queueColumns(sql)}, is_created from created q
  `;
  return { queue: toQueue(rows[0]!), isCreated: rows[0]!.is_created };
}

/**
 * Changes some settings and leaves the rest; objects merge field by field, but `target.headers` is
 * replaced as a whole. Null when there is no such queue.
 *
 * Index: `queue_name`. The merge happens under the row's lock, so that two patches of different
 * fields both count. Throws what `isUnknownCalendar` knows. Safe to repeat.
 */
export async function patchQueue(
  sql: Sql,
  input: { project: string; name: string; settings: PartialQueueSettings },
): Promise<QueueRecord | null> {
  const { pool = null } = input.settings;
  const rows = await sql<QueueRow[]>`
    with ${shardsOf(sql, sql`select ${pool}::text as pool where ${pool}::text is not null`)}
    update errand.queue q set version = version + 1, updated_at = now(),
      ${movedTo(sql, sql`coalesce(${pool}, q.pool)`)},
      settings = settings || coalesce((
        select jsonb_object_agg(p.key, case
          when jsonb_typeof(settings -> p.key) = 'object' and jsonb_typeof(p.value) = 'object'
          then (settings -> p.key) || p.value else p.value end)
        from jsonb_each(${JSON.stringify(input.settings)}::text::jsonb) p
      ), '{}')
    where project = ${input.project} and name = ${input.name} and deleted_at is null
    returning ${queueColumns(sql)}
  `;
  return firstQueue(rows);
}

/** True for the error of a statement that would have let a queue name a calendar that is not there. */
export function isUnknownCalendar(error: unknown): boolean {
  return (
    sqlState(error) === FOREIGN_KEY_VIOLATION &&
    (error as { constraint_name?: unknown }).constraint_name === 'queue_calendar'
  );
}

/**
 * Pauses or resumes a queue: from the commit on no claim takes its tasks, and what is leased runs on.
 * Null when there is no such queue. Index: `queue_name`. Locks the row. Safe to repeat.
 */
export async function setQueuePaused(
  sql: Sql,
  input: { project: string; name: string; paused: boolean },
): Promise<QueueRecord | null> {
  const rows = await sql<QueueRow[]>`
    update errand.queue q set version = version + 1, updated_at = now(),
      paused_at = case when ${input.paused} then coalesce(paused_at, now()) end
    where project = ${input.project} and name = ${input.name} and deleted_at is null
    returning ${queueColumns(sql)}
  `;
  return firstQueue(rows);
}

/** The column is where shards are looked for; a queue that stays keeps the time it came. */
function movedTo(sql: Sql, pool: ReturnType<Sql>) {
  return sql`pool = ${pool},
    pool_changed_at = case when q.pool = ${pool} then q.pool_changed_at else now() end`;
}

/** A pool's shards can be owned from the moment that a queue names it, be it served or not. */
function shardsOf(sql: Sql, pools: ReturnType<Sql>) {
  return sql`owned as (
    insert into errand.ownership (pool, shard)
    select p.pool, s from (${pools}) p, generate_series(0, ${SHARDS - 1}::integer) s
    on conflict do nothing
  )`;
}
