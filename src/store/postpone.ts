import type { WakeUp } from '../model.ts';
import { columnsOf } from './array.ts';
import type { Sql } from './database.ts';
import { undoneLeases } from './release.ts';

export interface LeaseToPostpone {
  taskId: string;
  leaseId: string;
  /** Above 0. */
  delaySeconds: number;
}

/**
 * Gives leases back undone that may not be called yet: the task lies in `scheduled` until its delay is
 * over, with the attempts it had, or ends if its cancellation was asked for. Returns when each is due.
 *
 * Fenced, locked and repeatable as releaseTasks. The delays are joined to the few leases just locked,
 * by task; a task has one lease, so a row is never made twice.
 */
export async function postponeTasks(
  sql: Sql,
  shard: number,
  leases: readonly LeaseToPostpone[],
): Promise<WakeUp[]> {
  const column = columnsOf(sql, leases);
  const rows = await sql<{ queue: number; rank: number; due_in: number }[]>`
    with ${undoneLeases(sql, shard, leases)}
    insert into errand.scheduled (shard, due_at, task, step, queue, rank, attempt, first_attempt_at,
      previous_status)
    select h.shard, now() + make_interval(secs => w.delay), h.task, h.step, h.queue, h.rank,
      h.attempt - 1, h.first_attempt_at, h.previous_status
    from held h
    join (
      select task, max(delay) as delay from unnest(
        ${column('uuid', (l) => l.taskId)}, ${column('float', (l) => l.delaySeconds)}
      ) as w(task, delay)
      group by task
    ) w on w.task = h.task
    where h.cancel_requested_at is null
    returning queue, rank, extract(epoch from due_at - now())::double precision as due_in
  `;
  return rows.map(({ queue, rank, due_in }) => ({
    shard,
    queue,
    rank,
    seq: null,
    dueInSeconds: due_in,
  }));
}
