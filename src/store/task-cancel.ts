import { DEFAULT_QUEUE_SETTINGS, type WakeUp } from '../model.ts';
import type { Sql } from './database.ts';
import { shardOf } from './task-id.ts';
import { MOVED, whileItMoves } from './task-move.ts';
import {
  selectTask,
  type TaskRecord,
  type TaskRef,
  type TaskRow,
  taskRecord,
} from './task-read.ts';

export type Cancelled =
  /** It waited, and has ended as cancelled. `wakeUps`: who owns its queue has to know, if it had a flow key. */
  | { kind: 'cancelled'; task: TaskRecord; wakeUps: WakeUp[] }
  /** It is being dispatched: whatever comes of that attempt, it will end as cancelled. */
  | { kind: 'requested'; task: TaskRecord }
  /** It had ended before; nothing changed. */
  | { kind: 'ended'; task: TaskRecord }
  | { kind: 'not-found' };

const REASON = 'cancelled while it waited';

/**
 * Cancels a task: what waits ends now and its name begins to be freed, what is leased gets a request
 * that its settlement reads. Repeatable.
 *
 * By the (shard, task) keys of the rooms. Locks the one row it takes; a claim skips a row so locked, and
 * a claim, promotion or settlement that was first makes this one look again (`whileItMoves`). A request
 * and a settlement meet at the lease's row: the later of the two sees what the earlier committed.
 */
export async function cancelTask(sql: Sql, ref: TaskRef): Promise<Cancelled> {
  return whileItMoves(() => tryCancel(sql, ref));
}

async function tryCancel(sql: Sql, ref: TaskRef): Promise<Cancelled | typeof MOVED> {
  const shard = shardOf(ref.taskId);
  const defaults = DEFAULT_QUEUE_SETTINGS;
  const [row] = await sql<(TaskRow & { ended_at: Date | null; is_requested: boolean })[]>`
    with seen as materialized (${selectTask(sql, ref)}),
    from_ready as (
      delete from errand.ready r using seen s
      where r.shard = ${shard} and r.task = s.id returning r.task
    ),
    from_parked as (
      delete from errand.parked p using seen s
      where p.shard = ${shard} and p.task = s.id returning p.task
    ),
    from_scheduled as (
      delete from errand.scheduled c using seen s
      where c.shard = ${shard} and c.task = s.id returning c.task
    ),
    gone as (
      select task from from_ready union all select task from from_parked
      union all select task from from_scheduled
    ),
    requested as (
      update errand.lease l set cancel_requested_at = coalesce(l.cancel_requested_at, now())
      from seen s where l.shard = ${shard} and l.task = s.id returning l.task
    ),
    ended as (
      insert into errand.finished (shard, task, queue, state, step, attempt, started_at, finished_at,
        last_status, reason, progress, retained_until)
      select ${shard}, s.id, s.queue_id, 'cancelled', s.step, s.attempt, s.started_at, now(),
        s.last_status, ${REASON}, s.progress,
        now() + make_interval(secs => coalesce(s.retention_seconds,
          (q.settings ->> 'retentionSeconds')::double precision, ${defaults.retentionSeconds}))
      from gone g join seen s on s.id = g.task join errand.queue q on q.id = s.queue_id
      returning finished_at
    ),
    freed as (
      update errand.task_name n
      set free_from = now() + make_interval(secs => coalesce(
        (q.settings ->> 'nameRetentionSeconds')::double precision, ${defaults.nameRetentionSeconds}))
      from gone g join seen s on s.id = g.task join errand.queue q on q.id = s.queue_id
      where n.shard = ${shard} and n.queue = s.queue_id and n.name = s.name and n.task = s.id
    )
    select s.*, (select finished_at from ended) as ended_at,
      exists (select from requested) as is_requested
    from seen s
  `;
  return row ? judge(row) : { kind: 'not-found' };
}

function judge(
  row: TaskRow & { ended_at: Date | null; is_requested: boolean },
): Cancelled | typeof MOVED {
  const task = taskRecord(row);
  if (task.finishedAt !== null) return { kind: 'ended', task };
  if (row.is_requested) return { kind: 'requested', task };
  if (row.ended_at === null) return MOVED;
  const ended: TaskRecord = {
    ...task,
    state: 'cancelled',
    scheduledAt: row.first_scheduled_at,
    finishedAt: row.ended_at,
    reason: REASON,
  };
  return { kind: 'cancelled', task: ended, wakeUps: wakeUpsOfEnded(task) };
}

/** A task that ended while it waited may have held its key. */
export function wakeUpsOfEnded({ id, queueId, rank, flowKey }: TaskRecord): WakeUp[] {
  if (flowKey === null) return [];
  const place = { shard: shardOf(id), queue: queueId, rank, seq: null, dueInSeconds: 0 };
  return [{ ...place, ended: { taskId: id, flowKey } }];
}
