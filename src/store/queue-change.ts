import type { QueueRecord } from '../model.ts';
import { DEFAULT_POOL, SHARDS } from '../model.ts';
import type { Sql } from './database.ts';
import {
  firstQueue,
  type PartialQueueSettings,
  type QueueRow,
  queueColumns,
  toQueue,
} from './queue.ts';

/**
 * Creates a queue, or replaces the settings of the one that has the name; it keeps its shard, its
 * tasks and its pause. A new one gets the shard that has the fewest queues of its pool.
 *
 * Index: `queue_name`. Locks the queue's row. Two that create one name at once both succeed: the
 * second finds the first's row in the conflict and replaces it. The update comes first only because
 * an insert that conflicts uses up an id. Safe to repeat.
 */
export async function putQueue(
  sql: Sql,
  input: { project: string; name: string; settings: PartialQueueSettings; pool?: string },
): Promise<{ queue: QueueRecord; isCreated: boolean }> {
  const { project, name, pool = DEFAULT_POOL } = input;
  const settings = sql`${JSON.stringify(input.settings)}::text::jsonb`;
  const rows = await sql<(QueueRow & { is_created: boolean })[]>`
    with replaced as (
      update errand.queue set settings = ${settings}, version = version + 1, updated_at = now()
      where project = ${project} and name = ${name} and deleted_at is null
      returning *
    ),
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
      do update set settings = excluded.settings, version = q.version + 1, updated_at = now()
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
 * fields both count. Safe to repeat.
 */
export async function patchQueue(
  sql: Sql,
  input: { project: string; name: string; settings: PartialQueueSettings },
): Promise<QueueRecord | null> {
  const rows = await sql<QueueRow[]>`
    update errand.queue q set version = version + 1, updated_at = now(),
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
