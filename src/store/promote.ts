import { array } from './array.ts';
import type { Sql } from './database.ts';
import type { ReadyHead } from './find-work.ts';

export interface Promoted {
  /** The lowest new place of each (queue, rank) that got tasks. */
  heads: ReadyHead[];
  /** True when there may be more that is due already. */
  isFull: boolean;
  /** Seconds until the next task of these shards is due; null when none is scheduled. */
  nextDueInSeconds: number | null;
}

/**
 * Moves what is due from `scheduled` to `ready`, the earliest first, at most `limit` of each shard.
 *
 * Index: primary key of `scheduled` (shard, due_at, task), so its cost does not depend on how much is
 * scheduled for later. `fromSeconds` back from now bounds the look: without it (null) it starts at the
 * very beginning, where dead rows may lie while an old transaction holds them. Locks the rows it moves
 * and skips those another holds, so a second dispatcher at work on the same shard does no harm.
 */
export async function promoteDue(
  sql: Sql,
  input: { shards: readonly number[]; limit: number; fromSeconds: number | null },
): Promise<Promoted> {
  const { shards } = input;
  const floor =
    input.fromSeconds === null
      ? sql`'-infinity'::timestamptz`
      : sql`now() - make_interval(secs => ${input.fromSeconds})`;
  const rows = await sql<
    {
      shard: number;
      queue: number | null;
      rank: number;
      seq: string;
      tasks: number;
      next: number | null;
    }[]
  >`
    with due as materialized (
      select d.* from unnest(${array(sql, 'smallint', shards)}) as s(shard)
      cross join lateral (
        select c.ctid as place from errand.scheduled c
        where c.shard = s.shard and c.due_at >= ${floor} and c.due_at <= now()
        order by c.due_at limit ${input.limit}
        for update skip locked
      ) d
    ),
    gone as (
      delete from errand.scheduled where ctid = any(array(select place from due))
      returning *
    ),
    ready as (
      insert into errand.ready (shard, queue, rank, seq, task, step, attempt, due_at, first_attempt_at,
        previous_status)
      select shard, queue, rank, nextval('errand.task_seq'), task, step, attempt, due_at,
        first_attempt_at, previous_status
      from (select * from gone order by due_at, task) o
      returning shard, queue, rank, seq
    ),
    upcoming as (
      select extract(epoch from min(n.due_at) - now())::double precision as next
      from unnest(${array(sql, 'smallint', shards)}) as s(shard)
      cross join lateral (
        select c.due_at from errand.scheduled c
        where c.shard = s.shard and c.due_at > now() order by c.due_at limit 1
      ) n
    )
    select r.shard, r.queue, r.rank, min(r.seq) as seq, count(*)::integer as tasks, u.next
    from upcoming u left join ready r on true
    group by r.shard, r.queue, r.rank, u.next
  `;
  const heads = rows.filter((row) => row.queue !== null) as (ReadyHead & { tasks: number })[];
  return {
    heads: heads.map(({ shard, queue, rank, seq }) => ({ shard, queue, rank, seq })),
    isFull: heads.some((head) => tasksOfShard(heads, head.shard) >= input.limit),
    nextDueInSeconds: rows[0]?.next ?? null,
  };
}

function tasksOfShard(heads: readonly { shard: number; tasks: number }[], shard: number): number {
  return heads.reduce((sum, head) => sum + (head.shard === shard ? head.tasks : 0), 0);
}
