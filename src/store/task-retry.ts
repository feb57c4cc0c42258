import type { WakeUp } from '../model.ts';
import type { Sql } from './database.ts';
import { sqlState } from './errors.ts';
import { shardOf, taskIdText } from './task-id.ts';
import { MOVED, whileItMoves } from './task-move.ts';
import {
  selectTask,
  type TaskRecord,
  type TaskRef,
  type TaskRow,
  taskRecord,
} from './task-read.ts';

export type Retried =
  | { kind: 'ready'; task: TaskRecord; wakeUp: WakeUp }
  /** Another task has its name now. */
  | { kind: 'name-taken'; taskId: string }
  /** `purged`: its queue was purged after the task was created, so it can't lie in the queue again. */
  | { kind: 'succeeded' | 'live' | 'purged' | 'not-found' };

interface RetriedRow extends TaskRow {
  is_purged: boolean;
  seq: string | null;
  due_at: Date | null;
}

/**
 * Redrives a task that failed or was cancelled: under the same id it is ready again at the step where
 * it ended, with no attempt counted. Its earlier attempts stay in the log. Past its expire time it
 * fails again without an attempt.
 *
 * By the (shard, task) key of `finished` and the key of `task_name`. The finished row is deleted first:
 * of two redrives, or a redrive and a removal, the second finds nothing and looks again. Only then is
 * the name taken back; where another task holds it, the statement is rolled back (ER001). A name that an
 * open transaction holds is waited for half a second at most (55P03).
 */
export async function retryTask(sql: Sql, ref: TaskRef): Promise<Retried> {
  return whileItMoves(async () => {
    try {
      return await tryRetry(sql, ref);
    } catch (error) {
      if (sqlState(error) !== 'ER001') throw error;
      return findHolder(sql, ref);
    }
  });
}

async function tryRetry(sql: Sql, ref: TaskRef): Promise<Retried | typeof MOVED> {
  const shard = shardOf(ref.taskId);
  const [row] = await sql<RetriedRow[]>`
    with bound as materialized (select set_config('lock_timeout', '500ms', true)),
    seen as materialized (
      select s.*, coalesce(s.id < q.purged_before, false) as is_purged
      from bound, (${selectTask(sql, ref)}) s join errand.queue q on q.id = s.queue_id
    ),
    gone as (
      delete from errand.finished f using seen s
      where f.shard = ${shard} and f.task = ${ref.taskId} and f.state <> 'succeeded'
        and not s.is_purged
      returning f.task
    ),
    named as (
      insert into errand.task_name (shard, queue, name, task)
      select ${shard}::smallint, s.queue_id, s.name, s.id
      from gone g join seen s on s.id = g.task where s.name is not null
      on conflict (shard, queue, name) do update set task = excluded.task, free_from = null
        where task_name.task = excluded.task or task_name.free_from <= now()
      returning task
    ),
    ready as (
      insert into errand.ready (shard, queue, rank, seq, task, step, attempt, due_at, previous_status)
      select ${shard}::smallint, s.queue_id, s.rank, nextval('errand.task_seq'), s.id, s.step, 0,
        now(), s.last_status
      from gone g join seen s on s.id = g.task
      where case when s.name is null or exists (select from named) then true
        else errand.refuse('name-taken') end
      returning seq, due_at
    )
    select s.*, r.seq, r.due_at from seen s left join ready r on true
  `;
  return row ? judge(shard, row) : { kind: 'not-found' };
}

function judge(shard: number, row: RetriedRow): Retried | typeof MOVED {
  const ended = taskRecord(row);
  if (ended.finishedAt === null) return { kind: 'live' };
  if (ended.state === 'succeeded') return { kind: 'succeeded' };
  if (row.is_purged) return { kind: 'purged' };
  if (row.seq === null || row.due_at === null) return MOVED;
  const task: TaskRecord = {
    ...ended,
    state: 'ready',
    attempts: 0,
    scheduledAt: row.due_at,
    startedAt: null,
    finishedAt: null,
    reason: null,
  };
  const wakeUp = { shard, queue: task.queueId, rank: task.rank, seq: row.seq, dueInSeconds: 0 };
  return { kind: 'ready', task, wakeUp };
}

/** Who has the name; if it was let go since, there is nothing in the way of another try. */
async function findHolder(sql: Sql, ref: TaskRef): Promise<Retried | typeof MOVED> {
  const [row] = await sql<{ holder: string }[]>`
    select n.task as holder
    from (${selectTask(sql, ref)}) s
    join errand.task_name n
      on n.shard = ${shardOf(ref.taskId)} and n.queue = s.queue_id and n.name = s.name
    where n.task <> s.id and (n.free_from is null or n.free_from > now())
  `;
  return row ? { kind: 'name-taken', taskId: taskIdText(row.holder) } : MOVED;
}
