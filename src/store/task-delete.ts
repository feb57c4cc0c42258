import type { WakeUp } from '../model.ts';
import type { Sql } from './database.ts';
import { wakeUpsOfEnded } from './task-cancel.ts';
import { shardOf } from './task-id.ts';
import { MOVED, whileItMoves } from './task-move.ts';
import { selectTask, type TaskRef, type TaskRow, taskRecord } from './task-read.ts';

export type Deleted =
  /** `wakeUps`: who owns its queue has to know, if it had a flow key. */
  | { kind: 'deleted'; wakeUps: WakeUp[] }
  /** `leased`: its cancel was requested, and it can be removed once that attempt has ended. */
  | { kind: 'leased' | 'not-found' };

/**
 * Removes a task and every trace of it: its room's row, its steps, its attempts and its name, which is
 * free at once. A leased task can't be removed under its attempt: it is asked to end as cancelled, as
 * `cancelTask` does. Repeatable: the second call finds nothing.
 *
 * By the keys of each table, all led by (shard, task). What is removed hangs on the room's row that was
 * deleted, so a task that moves meanwhile loses nothing; then it is looked for again.
 */
export async function deleteTask(sql: Sql, ref: TaskRef): Promise<Deleted> {
  return whileItMoves(() => tryDelete(sql, ref));
}

async function tryDelete(sql: Sql, ref: TaskRef): Promise<Deleted | typeof MOVED> {
  const shard = shardOf(ref.taskId);
  const task = sql`${ref.taskId}::uuid`;
  const [row] = await sql<(TaskRow & { is_removed: boolean; is_requested: boolean })[]>`
    with seen as materialized (${selectTask(sql, ref)}),
    from_ready as (
      delete from errand.ready r using seen s
      where r.shard = ${shard} and r.task = ${task} returning r.task
    ),
    from_parked as (
      delete from errand.parked p using seen s
      where p.shard = ${shard} and p.task = ${task} returning p.task
    ),
    from_scheduled as (
      delete from errand.scheduled c using seen s
      where c.shard = ${shard} and c.task = ${task} returning c.task
    ),
    from_finished as (
      delete from errand.finished f using seen s
      where f.shard = ${shard} and f.task = ${task} returning f.task
    ),
    requested as (
      update errand.lease l set cancel_requested_at = coalesce(l.cancel_requested_at, now())
      from seen s where l.shard = ${shard} and l.task = ${task} returning l.task
    ),
    gone as (
      select task from from_ready union all select task from from_parked
      union all select task from from_scheduled union all select task from from_finished
    ),
    names as (
      delete from errand.task_name n using gone g, seen s
      where n.shard = ${shard} and n.queue = s.queue_id and n.name = s.name and n.task = ${task}
    ),
    steps as (
      delete from errand.task t using gone g where t.shard = ${shard} and t.id = ${task}
    ),
    attempts as (
      delete from errand.attempt a using gone g where a.shard = ${shard} and a.task = ${task}
    )
    select s.*, exists (select from gone) as is_removed,
      exists (select from requested) as is_requested
    from seen s
  `;
  if (row === undefined) return { kind: 'not-found' };
  if (row.is_requested) return { kind: 'leased' };
  if (!row.is_removed) return MOVED;
  return { kind: 'deleted', wakeUps: wakeUpsOfEnded(taskRecord(row)) };
}
