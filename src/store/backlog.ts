import type { QueueRecord } from '../model.ts';
import type { Sql } from './database.ts';

/**
 * How many tasks of a queue wait: ready, parked by their flow key, or scheduled, retries included.
 * Counts up to `atMost` in each of the three, so it is exact below that and at least `atMost` above it.
 *
 * Index: primary keys of `ready` and `parked`, in whose order they are read lest the planner reads a
 * whole room, and `scheduled_by_queue`. Measured: 20 ms for 100,000 tasks, of which none is read by
 * itself where the room was vacuumed lately. During a purge, what it has passed is left out. No locks.
 */
export async function countBacklog(
  sql: Sql,
  queue: Pick<QueueRecord, 'id' | 'shard' | 'isPurging'>,
  atMost: number,
): Promise<number> {
  const { id, shard } = queue;
  const stays = queue.isPurging
    ? sql`and task >= (select coalesce(purged_before, ${LOWEST_ID}) from errand.queue where id = ${id})`
    : sql``;
  const mine = sql`shard = ${shard} and queue = ${id} ${stays}`;
  const [row] = await sql<{ waiting: number }[]>`
    select (
      (select count(*) from (select from errand.ready where ${mine}
        order by rank, seq limit ${atMost}) r)
      + (select count(*) from (select from errand.parked where ${mine}
        order by flow_key, rank, seq limit ${atMost}) p)
      + (select count(*) from (select from errand.scheduled where ${mine} limit ${atMost}) s)
    )::integer as waiting
  `;
  return row!.waiting;
}

const LOWEST_ID = '00000000-0000-0000-0000-000000000000';
