import { array, columnsOf } from './array.ts';
import type { Sql } from './database.ts';

/** The head of one (queue, rank) in `ready`: where a claim should look from. */
export interface ReadyHead {
  shard: number;
  queue: number;
  rank: number;
  seq: string;
  /** The queue's version now, where the look told it: what is known of the queue may be older. */
  version?: number;
}

export interface FoundWork {
  heads: ReadyHead[];
  /** Seconds until the first scheduled task of these shards is due: 0 or less when it is; null = there is none. */
  nextDueInSeconds: number | null;
}

/**
 * Finds the first ready task of every (queue, rank) of a pool on these shards, and when their first scheduled
 * task is due: the look that backs up wake-ups and finds what was committed late. A loose index scan on the
 * primary key of `ready`: its cost grows with the number of queues that have ready tasks, not with the tasks;
 * and one probe a shard of that of `scheduled`. One statement, for it is all that an idle dispatcher sends,
 * and no probe of the shards where a room is empty altogether. Locks nothing.
 */
export async function findWork(
  sql: Sql,
  pool: string,
  shards: readonly number[],
): Promise<FoundWork> {
  const rows = await sql<FoundRow[]>`
    with recursive head as (
      select r.* from unnest(${array(sql, 'smallint', shards)}) as s(shard)
      cross join lateral (
        select r.shard, r.queue, r.rank, r.seq from errand.ready r
        where r.shard = s.shard order by r.queue, r.rank, r.seq limit 1
      ) r
      where (select exists (select from errand.ready))
      union all
      select n.* from head h
      cross join lateral (
        select r.shard, r.queue, r.rank, r.seq from errand.ready r
        where r.shard = h.shard and (r.queue, r.rank) > (h.queue, h.rank)
        order by r.queue, r.rank, r.seq limit 1
      ) n
    ),
    upcoming as (
      select extract(epoch from min(n.due_at) - now())::double precision as next
      from unnest(${array(sql, 'smallint', shards)}) as s(shard)
      cross join lateral (
        select c.due_at from errand.scheduled c where c.shard = s.shard order by c.due_at limit 1
      ) n
      where (select exists (select from errand.scheduled))
    )
    select null::smallint as shard, null::integer as queue, null::smallint as rank,
      null::bigint as seq, null::bigint as version, next
    from upcoming
    union all
    select h.shard, h.queue, h.rank, h.seq, q.version, null
    from head h join errand.queue q on q.id = h.queue and q.pool = ${pool}
  `;
  const [upcoming, ...heads] = rows;
  return {
    heads: heads.map(({ shard, queue, rank, seq, version }) => {
      return { shard: shard!, queue: queue!, rank: rank!, seq: seq!, version: Number(version) };
    }),
    nextDueInSeconds: upcoming!.next,
  };
}

/** How far one (queue, rank) has been claimed. */
export type ClaimedPlace = Omit<ReadyHead, 'version'>;

/**
 * Finds the first ready task past each of these places: what findWork() finds, less what was committed late or
 * lies in ranks that nothing was claimed of yet. One probe a place on the primary key of `ready`, which never
 * walks what was claimed before: an old transaction keeps those rows, and with millions of them a look from
 * the start takes seconds. Locks nothing.
 */
export async function findNextHeads(
  sql: Sql,
  pool: string,
  places: readonly ClaimedPlace[],
): Promise<ReadyHead[]> {
  const column = columnsOf(sql, places);
  const rows = await sql<(ReadyHead & { version: string })[]>`
    select p.shard, p.queue, p.rank, r.seq, q.version
    from unnest(${column('smallint', (p) => p.shard)}, ${column('integer', (p) => p.queue)},
      ${column('smallint', (p) => p.rank)}, ${column('bigint', (p) => p.seq)}
    ) as p(shard, queue, rank, seq)
    cross join lateral (
      select r.seq from errand.ready r
      where r.shard = p.shard and r.queue = p.queue and r.rank = p.rank and r.seq > p.seq
      order by r.seq limit 1
    ) r
    cross join lateral (
      select q.version from errand.queue q where q.id = p.queue and q.pool = ${pool} limit 1
    ) q
  `;
  return rows.map((row) => ({ ...row, version: Number(row.version) }));
}

/** The first is when something will be due, the others are heads. */
interface FoundRow {
  shard: number | null;
  queue: number | null;
  rank: number | null;
  seq: string | null;
  version: string | null;
  next: number | null;
}
