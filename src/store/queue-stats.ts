import type { QueueRecord } from '../model.ts';
import type { Sql } from './database.ts';

/** Counts stop here, so that looking at a queue costs the same however long it is. */
export const MAX_COUNTED = 10_000;

export interface QueueCounts {
  /** At most MAX_COUNTED. */
  ready: number;
  /** At most MAX_COUNTED. */
  scheduled: number;
  leased: number;
  oldestReadyAt: Date | null;
}

/**
 * Approximate counts of a queue's live tasks; what a purge has passed is left out.
 *
 * Index: primary key of `ready` (shard, queue, …), and a walk over it that looks at the first row of
 * each rank for the oldest; what is parked counts as ready, and of it the oldest is looked for among
 * MAX_COUNTED; `scheduled_by_queue`. `lease` has no index by queue, so MAX_COUNTED of the shard are
 * looked at, of which there are seldom more. No locks.
 */
export async function queueStats(
  sql: Sql,
  queue: Pick<QueueRecord, 'id' | 'shard'>,
): Promise<QueueCounts> {
  const { id, shard } = queue;
  const [row] = await sql<
    { ready: number; scheduled: number; leased: number; oldest: Date | null }[]
  >`
    with recursive floor as materialized (
      select coalesce(purged_before, '00000000-0000-0000-0000-000000000000') as id
      from errand.queue where id = ${id}
    ),
    head as (
      (select rank, task, due_at from errand.ready
        where shard = ${shard} and queue = ${id} order by rank, seq limit 1)
      union all
      select n.rank, n.task, n.due_at from head h
      cross join lateral (
        select r.rank, r.task, r.due_at from errand.ready r
        where r.shard = ${shard} and r.queue = ${id} and r.rank > h.rank
        order by r.rank, r.seq limit 1
      ) n
    ),
    parked as materialized (
      select task, due_at from errand.parked
      where shard = ${shard} and queue = ${id} limit ${MAX_COUNTED}
    )
    select
      (select count(*) filter (where task >= floor.id) from (
        (select task from errand.ready
          where shard = ${shard} and queue = ${id} limit ${MAX_COUNTED})
        union all select task from parked limit ${MAX_COUNTED}) r)::integer as ready,
      (select count(*) filter (where task >= floor.id) from (
        select task from errand.scheduled
        where shard = ${shard} and queue = ${id} limit ${MAX_COUNTED}) s)::integer as scheduled,
      (select count(*) filter (where queue = ${id}) from (
        select queue from errand.lease
        where shard = ${shard} limit ${MAX_COUNTED}) l)::integer as leased,
      (select min(due_at) from (
        select task, due_at from head union all select task, due_at from parked) r
        where task >= floor.id) as oldest
    from floor
  `;
  return {
    ready: row?.ready ?? 0,
    scheduled: row?.scheduled ?? 0,
    leased: row?.leased ?? 0,
    oldestReadyAt: row?.oldest ?? null,
  };
}
