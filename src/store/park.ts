import { array } from './array.ts';
import type { Sql } from './database.ts';
import { undoneLeases } from './release.ts';
import { taskIdText } from './task-id.ts';

/** Before every priority: a task that holds its key comes first of those that are parked there. */
export const HOLDER_RANK = -32768;

export interface LeaseToPark {
  taskId: string;
  leaseId: string;
  /** True for the task that holds its key: it is the next of the key, whatever else is parked. */
  isHolder?: boolean;
}

export interface ParkedTask {
  queue: number;
  flowKey: string;
  taskId: string;
}

/**
 * Gives leases back undone whose flow key is at its limit: the task lies in `parked` with the sequence
 * number and the attempts it had, until its key is called; or it ends, if its cancellation was asked
 * for. Returns what was parked.
 *
 * Fenced, locked and repeatable as releaseTasks. Appends to `parked`, whose (shard, task) key holds one
 * row a task.
 */
export async function parkTasks(
  sql: Sql,
  shard: number,
  leases: readonly LeaseToPark[],
): Promise<ParkedTask[]> {
  const holders = leases.filter(({ isHolder }) => isHolder).map(({ taskId }) => taskId);
  const rows = await sql<{ queue: number; flow_key: string; task: string }[]>`
    with ${undoneLeases(sql, shard, leases)}
    insert into errand.parked (shard, queue, flow_key, rank, seq, task, step, attempt, due_at,
      first_attempt_at, previous_status)
    select shard, queue, flow_key,
      case when task = any(${array(sql, 'uuid', holders)}) then ${HOLDER_RANK}::smallint else rank end,
      seq, task, step, attempt - 1, due_at, first_attempt_at, previous_status
    from held where cancel_requested_at is null
    returning queue, flow_key, task
  `;
  return rows.map(({ queue, flow_key, task }) => ({
    queue,
    flowKey: flow_key,
    taskId: taskIdText(task),
  }));
}
