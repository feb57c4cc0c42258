import type { ClaimedTask } from '../model.ts';
import { columnsOf } from './array.ts';
import {
  type Claimant,
  type ClaimedRow,
  claimedColumns,
  claimedTask,
  leaseTaken,
  ownershipFence,
} from './claimed-rows.ts';
import type { Sql } from './database.ts';

/** How many of a flow key's parked tasks may be claimed. */
export interface FlowClaim {
  queue: number;
  /** The queue's version that the limit was computed from. */
  version: number;
  flowKey: string;
  limit: number;
  /** Used where the task names none. */
  dispatchDeadlineSeconds: number;
}

export interface ParkedClaimInput extends Claimant {
  flows: readonly FlowClaim[];
}

export interface ParkedClaim {
  tasks: ClaimedTask[];
  /** Queues that were claimed from: a key of these that brought fewer than asked for has no more. */
  open: Set<number>;
}

/**
 * Moves the first parked tasks of many flow keys of one shard from `parked` to `lease`, and returns them
 * with their payloads, in order of dispatch within each key.
 *
 * Index: primary key of `parked` (shard, queue, flow_key, rank, seq), one probe a key. Locks and fence as
 * claimTasks: a queue that changed, is paused or being purged yields nothing, nor does a lost shard; such
 * a queue is not among `open`, and nothing is known of its keys.
 */
export async function claimParkedTasks(sql: Sql, input: ParkedClaimInput): Promise<ParkedClaim> {
  const { shard } = input;
  const column = columnsOf(sql, input.flows);
  const rows = await sql<(ClaimedRow & { open_queue: number; task: string | null })[]>`
    with ${ownershipFence(sql, input)},
    wanted as materialized (
      select w.*
      from fence
      cross join unnest(
        ${column('integer', (f) => f.queue)}, ${column('bigint', (f) => f.version)},
        ${column('text', (f) => f.flowKey)}, ${column('integer', (f) => f.limit)}
      ) as w(queue, version, flow_key, lim)
      cross join lateral (
        select from errand.queue q
        where q.id = w.queue and q.pool = ${input.pool} and not q.is_purging
          and q.version = w.version and q.paused_at is null
        limit 1 for share skip locked
      ) q
    ),
    pick as materialized (
      select p.place
      from wanted w cross join lateral (
        select p.ctid as place from errand.parked p
        where p.shard = ${shard} and p.queue = w.queue and p.flow_key = w.flow_key
        order by p.rank, p.seq limit w.lim
        for update skip locked
      ) p
    ),
    taken as (
      delete from errand.parked where ctid = any(array(select place from pick))
      returning *
    ),
    ${leaseTaken(sql, input, input.flows)}
    select o.queue as open_queue, ${claimedColumns(sql)}
    from (select distinct queue from wanted) o left join loaded l on l.queue = o.queue
    order by l.queue, l.rank, l.seq
  `;
  return {
    open: new Set(rows.map((row) => row.open_queue)),
    tasks: rows.flatMap((row) =>
      row.task === null ? [] : [claimedTask(shard, row as ClaimedRow)],
    ),
  };
}
