import type { ClaimedTask } from '../model.ts';
import { array, columnsOf } from './array.ts';
import {
  type Claimant,
  type ClaimedRow,
  claimedColumns,
  claimedTask,
  leaseTaken,
  ownershipFence,
} from './claimed-rows.ts';
import type { Sql } from './database.ts';

/** Which tasks of a queue may be claimed: `limit` of them, from these places in its order on. */
export interface QueueClaim {
  queue: number;
  /** The queue's version that the limit was computed from. */
  version: number;
  /** True for tasks that were told to run now: pause and version do not stand in their way. */
  isForced?: boolean;
  limit: number;
  /** Used where the task names none. */
  dispatchDeadlineSeconds: number;
  /** Ranks to look at, best first, each with the sequence number to look past. */
  cursors: readonly { rank: number; afterSeq: string }[];
}

export interface ClaimInput extends Claimant {
  queues: readonly QueueClaim[];
}

export interface ReadyClaim {
  tasks: ClaimedTask[];
  /** Queue → the rank of its last task here, where nothing more of that rank was ready. */
  emptied: Map<number, number>;
}

/**
 * Moves the first tasks of many queues of one shard from `ready` to `lease`, in one statement, and
 * returns them with their payloads, in order of dispatch within each queue.
 *
 * Index: primary key of `ready` (shard, queue, rank, seq), one probe per (queue, rank), starting at the
 * cursor and so not on the dead rows of what was claimed before. Locks: `FOR SHARE` on the ownership
 * row, so that a take-over (which raises the epoch) waits for a claim that runs, and a claim that comes
 * after it finds its epoch gone and yields nothing; row locks on what it takes, skipping rows that a
 * cancel holds. A queue that changed (version), is paused or being purged yields nothing. Its row is held
 * `FOR SHARE` too: so a change of it waits for the claim, and a claim that waited for its ownership sees
 * what was changed meanwhile, which its snapshot does not. A row that is being changed is skipped, so
 * that no claim ever waits for one (measured: 1 µs a queue). Each is looked up by itself (the limit): a join
 * walked all 10,000 queues for each, 0.5 s a claim. The delete goes to the places that were just
 * locked (a TID scan): a join, by key or by place, is planned by the size that the table had once, and
 * read 20,000 rows for each 200 after a quiet minute. One more probe a queue tells whether it was emptied,
 * or every queue that gave all that was asked of it would be claimed from once more, for nothing.
 */
export async function claimTasks(sql: Sql, input: ClaimInput): Promise<ReadyClaim> {
  const { shard } = input;
  const column = columnsOf(sql, input.queues);
  const rows = await sql<(ClaimedRow & { is_emptied: boolean | null })[]>`
    with ${ownershipFence(sql, input)},
    wanted as materialized (
      select w.* from fence
      cross join unnest(
        ${column('integer', (q) => q.queue)}, ${column('bigint', (q) => q.version)},
        ${column('integer', (q) => q.limit)},
        ${column('text', (q) => arrayText(q.cursors.map((c) => c.rank)))},
        ${column('text', (q) => arrayText(q.cursors.map((c) => c.afterSeq)))},
        ${column('boolean', (q) => q.isForced ?? false)}
      ) as w(queue, version, lim, ranks, afters, is_forced)
      cross join lateral (
        select from errand.queue q
        where q.id = w.queue and q.pool = ${input.pool} and not q.is_purging
          and (w.is_forced or (q.version = w.version and q.paused_at is null))
        limit 1 for share skip locked
      ) q
    ),
    pick as materialized (
      select p.place
      from wanted w
      cross join lateral (
        select r.place
        from unnest(w.ranks::smallint[], w.afters::bigint[]) as k(rank, after)
        cross join lateral (
          select r.ctid as place from errand.ready r
          where r.shard = ${shard} and r.queue = w.queue and r.rank = k.rank and r.seq > k.after
          order by r.seq limit w.lim
          for update skip locked
        ) r
        limit w.lim
      ) p
    ),
    taken as (
      delete from errand.ready where ctid = any(array(select place from pick))
      returning *
    ),
    ${leaseTaken(sql, input, input.queues)}
    select ${claimedColumns(sql)},
      case when lead(l.seq) over (partition by l.queue order by l.rank, l.seq) is null then (
        select r.seq from errand.ready r
        where r.shard = ${shard} and r.queue = l.queue and r.rank = l.rank and r.seq > l.seq
        order by r.seq limit 1
      ) is null end as is_emptied
    from loaded l order by l.queue, l.rank, l.seq
  `;
  return {
    tasks: rows.map((row) => claimedTask(shard, row)),
    emptied: new Map(rows.flatMap((row) => (row.is_emptied ? [[row.queue, row.rank]] : []))),
  };
}

/**
 * Leases as tasks in hand again: those of one claim whose answer was lost (to give them back), or those
 * past their end or of a dispatcher that is gone (to settle them as lost). Reads the leases of the
 * shards, which are as many as there are calls in flight; locks nothing: what is done with them is
 * fenced by lease id.
 */
export async function findLeases(
  sql: Sql,
  which: { shards: readonly number[]; limit: number } & (
    | { dispatcher: number; claim: number }
    | { of: 'lost' }
  ),
): Promise<ClaimedTask[]> {
  const condition =
    'claim' in which
      ? sql`l.dispatcher = ${which.dispatcher} and l.claim = ${which.claim}`
      : sql`(l.expires_at < now()
          or not exists (select from errand.dispatcher d where d.id = l.dispatcher))`;
  const rows = await sql<(ClaimedRow & { shard: number })[]>`
    select l.shard, ${claimedColumns(sql)}
    from (
      select l.*, t.url, t.method, t.headers, t.content_type, t.body, t.data_key, t.name, t.retry,
        t.expire_at, t.dispatch_deadline_ms, t.retention_seconds
      from errand.lease l join errand.task t on t.shard = l.shard and t.id = l.task and t.step = l.step
      where l.shard = any(${array(sql, 'smallint', which.shards)}) and ${condition}
      limit ${which.limit}
    ) l
  `;
  return rows.map((row) => claimedTask(row.shard, row));
}

/** An array inside an array of arrays of different lengths can only travel as text. */
function arrayText(values: readonly (number | string)[]): string {
  return `{${values.join(',')}}`;
}
