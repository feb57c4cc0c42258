import type { Sql } from './database.ts';
import { shardOf } from './task-id.ts';
import type { TaskRef } from './task-read.ts';

/**
 * The name of the queue that a task of this project was enqueued in; null when there is no such task.
 * By the primary keys of `task` and `queue`; locks nothing.
 */
export async function findTaskQueue(
  sql: Sql,
  { project, taskId }: TaskRef,
): Promise<string | null> {
  const [row] = await sql<{ name: string }[]>`
    select q.name from errand.task t join errand.queue q on q.id = t.queue
    where t.shard = ${shardOf(taskId)}::smallint and t.id = ${taskId}::uuid and t.step = 0
      and q.project = ${project}
  `;
  return row?.name ?? null;
}
