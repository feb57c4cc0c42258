import type { Sql } from './database.ts';
import { shardOf } from './task-id.ts';
import { MOVED, whileItMoves } from './task-move.ts';
import { selectTask, type TaskRef } from './task-read.ts';

export interface SetProgress extends TaskRef {
  /** 0–100. */
  progress: number;
  /** The lease that must still be live; null when an API key allows it. */
  leaseId: string | null;
}

export type ProgressSet = 'set' | 'lease-lost' | 'ended' | 'not-found';

/**
 * Writes how far the current step of a task has come. With a lease id only while that lease is live and
 * unexpired; else while the task has not ended.
 *
 * By (shard, task) and the cold row's key. The one update of a cold row there is: rare, and of no index.
 * It locks that row alone, which no claim or settlement writes. Repeatable.
 */
export async function setProgress(sql: Sql, input: SetProgress): Promise<ProgressSet> {
  return whileItMoves(() => trySet(sql, input));
}

async function trySet(sql: Sql, input: SetProgress): Promise<ProgressSet | typeof MOVED> {
  const { taskId, leaseId } = input;
  const shard = shardOf(taskId);
  // The column is a `real`, which Postgres refuses to round 1e-50 to.
  const progress = Math.fround(input.progress);
  const [row] = await sql<{ is_ended: boolean; holds_lease: boolean; is_set: boolean }[]>`
    with seen as materialized (
      select s.id, s.step, s.finished_at is not null as is_ended,
        ${leaseId}::uuid is null or exists (
          select from errand.lease l
          where l.shard = ${shard} and l.task = s.id and l.lease_id = ${leaseId}::uuid
            and l.expires_at > now()) as holds_lease
      from (${selectTask(sql, input)}) s
    ),
    written as (
      update errand.task t set progress = ${progress}
      from seen s
      where t.shard = ${shard} and t.id = ${taskId} and t.step = s.step
        and s.holds_lease and not s.is_ended
      returning t.id
    )
    select is_ended, holds_lease, exists (select from written) as is_set from seen
  `;
  if (row === undefined) return 'not-found';
  if (!row.holds_lease) return 'lease-lost';
  if (row.is_ended) return 'ended';
  return row.is_set ? 'set' : MOVED;
}
