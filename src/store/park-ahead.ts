import { array } from './array.ts';
import { type Claimant, ownershipFence } from './claimed-rows.ts';
import type { Sql } from './database.ts';

export interface ParkAheadInput extends Claimant {
  queue: number;
  /** Where the next claim would look: only what lies there is looked at. */
  cursors: readonly { rank: number; afterSeq: string }[];
  /** Keys that have parked tasks: what is ready of them has to go behind those. */
  flowKeys: readonly string[];
  /** Rows of each rank to look at. */
  limit: number;
}

/**
 * Moves the ready tasks of blocked flow keys from the head of a queue to `parked`, without leases: a
 * claim would have to take each of them in hand first, and no more at once than the queue's limits allow.
 * Returns how many went.
 *
 * Index: primary key of `ready` from the cursors on, and of `task` for the keys. Fenced by the epoch;
 * waits for a cancel that holds a row, and then leaves it to the cancel.
 */
export async function parkAhead(sql: Sql, input: ParkAheadInput): Promise<number> {
  const { shard, queue, cursors } = input;
  const ranks = array(
    sql,
    'smallint',
    cursors.map(({ rank }) => rank),
  );
  const afters = array(
    sql,
    'bigint',
    cursors.map(({ afterSeq }) => afterSeq),
  );
  const [row] = await sql<{ parked: number }[]>`
    with ${ownershipFence(sql, input)},
    blocked as materialized (
      select r.place
      from fence cross join unnest(${ranks}, ${afters}) as k(rank, after)
      cross join lateral (
        select r.ctid as place, r.task, r.step from errand.ready r
        where r.shard = ${shard} and r.queue = ${queue} and r.rank = k.rank and r.seq > k.after
        order by r.seq limit ${input.limit}
      ) r
      cross join lateral (
        select t.flow_key from errand.task t
        where t.shard = ${shard} and t.id = r.task and t.step = r.step limit 1
      ) t
      where t.flow_key = any(${array(sql, 'text', input.flowKeys)})
    ),
    gone as (
      delete from errand.ready where ctid = any(array(select place from blocked))
      returning *
    ),
    parked as (
      insert into errand.parked (shard, queue, flow_key, rank, seq, task, step, attempt, due_at,
        first_attempt_at, previous_status)
      select g.shard, g.queue, t.flow_key, g.rank, g.seq, g.task, g.step, g.attempt, g.due_at,
        g.first_attempt_at, g.previous_status
      from gone g
      cross join lateral (
        select t.flow_key from errand.task t
        where t.shard = g.shard and t.id = g.task and t.step = g.step limit 1
      ) t
      returning 1
    )
    select count(*)::integer as parked from parked
  `;
  return row!.parked;
}
