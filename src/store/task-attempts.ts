import type { Outcome, SettlementKind } from '../model.ts';
import type { Sql } from './database.ts';
import { shardOf, taskIdText } from './task-id.ts';
import { selectTask, type TaskRef } from './task-read.ts';

export interface AttemptRecord {
  leaseId: string;
  step: number;
  attempt: number;
  outcome: Outcome;
  settlement: SettlementKind;
  status: number | null;
  error: string | null;
  startedAt: Date;
  finishedAt: Date;
  durationMs: number;
  retryAt: Date | null;
}

interface AttemptRow {
  lease_id: string | null;
  step: number;
  attempt: number;
  outcome: Outcome;
  settlement: SettlementKind;
  status: number | null;
  error: string | null;
  started_at: Date;
  finished_at: Date;
  duration_ms: number;
  retry_at: Date | null;
}

/**
 * The settled attempts of a task, newest first; the one in flight is not among them. Null when there is
 * no such task. `after` is the lease id of the last attempt already had: attempts are ordered by start
 * (which the driver would cut to milliseconds, so it stays in the database), then by lease id.
 * By (shard, task) of the primary key; locks nothing.
 */
export async function listAttempts(
  sql: Sql,
  input: TaskRef & { limit: number; after: string | null },
): Promise<{ attempts: AttemptRecord[]; hasMore: boolean } | null> {
  const shard = shardOf(input.taskId);
  const rows = await sql<AttemptRow[]>`
    select a.lease_id, a.step, a.attempt, a.outcome, a.settlement, a.status, a.error, a.started_at,
      a.finished_at, a.duration_ms, a.retry_at
    from (${selectTask(sql, input)}) s
    left join lateral (
      select a.* from errand.attempt a
      where a.shard = ${shard} and a.task = ${input.taskId}
        and (${input.after}::uuid is null or (a.started_at, a.lease_id) < (
          select p.started_at, p.lease_id from errand.attempt p
          where p.shard = ${shard} and p.task = ${input.taskId} and p.lease_id = ${input.after}::uuid))
      order by a.started_at desc, a.lease_id desc
      limit ${input.limit + 1}
    ) a on true
  `;
  if (rows.length === 0) return null;
  const attempts = rows.flatMap((row) =>
    row.lease_id === null ? [] : [attempt(row, row.lease_id)],
  );
  return { attempts: attempts.slice(0, input.limit), hasMore: attempts.length > input.limit };
}

function attempt(row: AttemptRow, leaseId: string): AttemptRecord {
  return {
    leaseId: taskIdText(leaseId),
    step: row.step,
    attempt: row.attempt,
    outcome: row.outcome,
    settlement: row.settlement,
    status: row.status,
    error: row.error,
    startedAt: row.started_at,
    finishedAt: row.finished_at,
    durationMs: row.duration_ms,
    retryAt: row.retry_at,
  };
}
