import { DEFAULT_QUEUE_SETTINGS, type WakeUp } from '../model.ts';
import { columnsOf } from './array.ts';
import type { Sql } from './database.ts';

/**
 * Gives leases back undone: the task lies in `ready` again with the sequence number and the attempts it
 * had, or ends if its cancellation was asked for. For a drain and for a claim whose answer came too
 * late. Fenced, locked and repeatable as settleTasks.
 */
export async function releaseTasks(
  sql: Sql,
  shard: number,
  leases: readonly { taskId: string; leaseId: string }[],
): Promise<WakeUp[]> {
  const rows = await sql<{ queue: number; rank: number; seq: string }[]>`
    with ${undoneLeases(sql, shard, leases)}
    insert into errand.ready (shard, queue, rank, seq, task, step, attempt, due_at, first_attempt_at,
      previous_status)
    select shard, queue, rank, seq, task, step, attempt - 1, due_at, first_attempt_at, previous_status
    from held where cancel_requested_at is null
    returning queue, rank, seq
  `;
  return rows.map((row) => ({ shard, ...row, dueInSeconds: 0 }));
}

/**
 * The leases that are named and still there, as `held`: they are deleted, and those whose cancellation
 * was asked for end. What becomes of the others is for the statement to say.
 */
export function undoneLeases(
  sql: Sql,
  shard: number,
  leases: readonly { taskId: string; leaseId: string }[],
) {
  const column = columnsOf(sql, leases);
  const defaults = DEFAULT_QUEUE_SETTINGS;
  return sql`
    named as (
      select distinct * from unnest(
        ${column('uuid', (l) => l.taskId)}, ${column('uuid', (l) => l.leaseId)}
      ) as d(task, lease_id)
      order by task, lease_id
    ),
    held as materialized (
      select l.* from named d
      cross join lateral (
        select l.* from errand.lease l
        where l.shard = ${shard} and l.task = d.task and l.lease_id = d.lease_id
        limit 1 for update
      ) l
    ),
    gone as (
      delete from errand.lease
      where shard = ${shard} and task = any(array(select task from held))
    ),
    cancelled as materialized (
      select g.*, t.name, coalesce(t.retention_seconds,
          (q.settings ->> 'retentionSeconds')::double precision, ${defaults.retentionSeconds}) as retention,
        coalesce((q.settings ->> 'nameRetentionSeconds')::double precision,
          ${defaults.nameRetentionSeconds}) as name_retention
      from held g join errand.queue q on q.id = g.queue
      join errand.task t on t.shard = ${shard} and t.id = g.task and t.step = g.step
      where g.cancel_requested_at is not null
    ),
    finished as (
      insert into errand.finished (shard, task, queue, state, step, attempt, started_at, finished_at,
        last_status, reason, retained_until)
      select shard, task, queue, 'cancelled', step, attempt - 1, first_attempt_at, now(),
        previous_status, 'cancelled before it was dispatched', now() + make_interval(secs => retention)
      from cancelled
    ),
    freed as (
      update errand.task_name n set free_from = now() + make_interval(secs => c.name_retention)
      from cancelled c
      where n.shard = ${shard} and n.queue = c.queue and n.name = c.name and n.task = c.task
    )`;
}
