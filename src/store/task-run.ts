import type { WakeUp } from '../model.ts';
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

export type Run =
  | { kind: 'ready'; task: TaskRecord; wakeUp: WakeUp }
  | { kind: 'leased' | 'ended' | 'not-found' };

/**
 * Makes a scheduled task ready now, at the end of its queue's line; a ready one keeps its place. It is
 * still dispatched within the queue's rate and not while the queue is paused: dispatch outside of both
 * comes with flow control. Repeatable.
 *
 * By the (shard, task) keys of the rooms; locks the one row it moves, which a promotion skips. When the
 * promotion was first, the statement looks again (`whileItMoves`).
 */
export async function runTask(sql: Sql, ref: TaskRef): Promise<Run> {
  return whileItMoves(() => tryRun(sql, ref));
}

async function tryRun(sql: Sql, ref: TaskRef): Promise<Run | typeof MOVED> {
  const shard = shardOf(ref.taskId);
  const [row] = await sql<(TaskRow & { seq: string | null; moved_due_at: Date | null })[]>`
    with seen as materialized (${selectTask(sql, ref)}),
    gone as (
      delete from errand.scheduled c using seen s
      where c.shard = ${shard} and c.task = s.id
      returning c.*
    ),
    moved as (
      insert into errand.ready (shard, queue, rank, seq, task, step, attempt, due_at,
        first_attempt_at, previous_status)
      select shard, queue, rank, nextval('errand.task_seq'), task, step, attempt, now(),
        first_attempt_at, previous_status
      from gone
      returning seq, due_at
    )
    select s.*, coalesce(m.seq, r.seq) as seq, m.due_at as moved_due_at
    from seen s left join moved m on true
    left join errand.ready r on r.shard = ${shard} and r.task = s.id
  `;
  if (row === undefined) return { kind: 'not-found' };
  if (row.state === 'leased') return { kind: 'leased' };
  if (row.finished_at !== null) return { kind: 'ended' };
  if (row.seq === null) return MOVED;
  const task: TaskRecord = {
    ...taskRecord(row),
    state: 'ready',
    scheduledAt: row.moved_due_at ?? row.scheduled_at,
  };
  const wakeUp = { shard, queue: task.queueId, rank: task.rank, seq: row.seq, dueInSeconds: 0 };
  return { kind: 'ready', task, wakeUp };
}
