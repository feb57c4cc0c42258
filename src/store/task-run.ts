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
 * The rank of tasks that were told to run now: before every priority, and claimed outside rate,
 * concurrency and pause. The lease has the task's own rank again, so a retry comes in its usual place.
 */
export const RUN_NOW_RANK = -32768;

/**
 * Puts a waiting task where its owner claims it at once, outside rate, pause and schedule. Repeatable.
 *
 * By the (shard, task) keys of the rooms; locks the one row it moves, which a claim or promotion skips.
 * When the other was first, the statement looks again (`whileItMoves`).
 */
export async function runTask(sql: Sql, ref: TaskRef): Promise<Run> {
  return whileItMoves(() => tryRun(sql, ref));
}

async function tryRun(sql: Sql, ref: TaskRef): Promise<Run | typeof MOVED> {
  const shard = shardOf(ref.taskId);
  const [row] = await sql<(TaskRow & { seq: string | null; moved_due_at: Date | null })[]>`
    with seen as materialized (${selectTask(sql, ref)}),
    from_scheduled as (
      delete from errand.scheduled c using seen s
      where c.shard = ${shard} and c.task = s.id
      returning c.queue, c.task, c.step, c.attempt, c.first_attempt_at, c.previous_status
    ),
    from_ready as (
      delete from errand.ready r using seen s
      where r.shard = ${shard} and r.task = s.id and r.rank <> ${RUN_NOW_RANK}
      returning r.queue, r.task, r.step, r.attempt, r.first_attempt_at, r.previous_status
    ),
    from_parked as (
      delete from errand.parked p using seen s
      where p.shard = ${shard} and p.task = s.id
      returning p.queue, p.task, p.step, p.attempt, p.first_attempt_at, p.previous_status
    ),
    gone as (
      select * from from_scheduled union all select * from from_ready
      union all select * from from_parked
    ),
    moved as (
      insert into errand.ready (shard, queue, rank, seq, task, step, attempt, due_at,
        first_attempt_at, previous_status)
      select ${shard}::smallint, queue, ${RUN_NOW_RANK}::smallint, nextval('errand.task_seq'), task,
        step, attempt, now(), first_attempt_at, previous_status
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
  const wakeUp = { shard, queue: task.queueId, rank: RUN_NOW_RANK, seq: row.seq, dueInSeconds: 0 };
  return { kind: 'ready', task, wakeUp };
}
