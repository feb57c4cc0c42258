import type { Output } from '../model.ts';
import type { Sql } from './database.ts';
import { shardOf } from './task-id.ts';
import { selectTask, type TaskRef } from './task-read.ts';

/**
 * What the worker answered when the task ended; null when there is no such task or it has no output.
 * By the (shard, task) keys of the rooms; locks nothing.
 */
export async function readOutput(sql: Sql, ref: TaskRef): Promise<Output | null> {
  const [row] = await sql<
    { output: Buffer; output_type: string | null; output_name: string | null; is_cut: boolean }[]
  >`
    select f.output, f.output_type, f.output_name, coalesce(f.is_output_truncated, false) as is_cut
    from (${selectTask(sql, ref)}) s
    join errand.finished f on f.shard = ${shardOf(ref.taskId)} and f.task = ${ref.taskId}
    where f.output is not null
  `;
  if (row === undefined) return null;
  return {
    body: row.output,
    contentType: row.output_type,
    fileName: row.output_name,
    isTruncated: row.is_cut,
  };
}
