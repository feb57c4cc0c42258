import { array, columnsOf } from './array.ts';
import type { Sql } from './database.ts';

/** What one heartbeat tells: the database's time, and every dispatcher's counter. */
export interface Heartbeat {
  databaseTime: Date;
  /** False when our own row is gone: others took us for dead, and we must begin anew. */
  isAlive: boolean;
  /** True when the pool has shards that nobody owns. */
  hasFreeShards: boolean;
  /** What is ours by the table. */
  shards: OwnedShard[];
  dispatchers: DispatcherPulse[];
}

export interface DispatcherPulse {
  id: number;
  pool: string;
  heartbeat: string;
  takeoverMs: number;
  isLeaving: boolean;
  /** The queue that it drains; null for one that serves its whole pool. */
  onlyQueue: number | null;
}

export interface OwnedShard {
  shard: number;
  epoch: string;
}

/** Seconds for which the buckets of flow keys had been filling, if they were empty before: level over rate. */
export interface FlowFilling {
  /** A key that is not in here had been filling for `others`. */
  keys: Record<string, number>;
  others: number;
}

/** Tokens in a bucket that nobody took from since. */
export interface TimedLevel {
  level: number;
  at: number;
}

/** What a graceful owner leaves to the next. Times are seconds since the epoch, by the database's clock. */
export interface LeftLevels {
  /** Nobody dispatched from a queue that is not named here since then. */
  since: number;
  /** Queue → tokens, of each that it knew. */
  levels: Record<string, number>;
  /** Queue → tokens, of those that only owners before it knew. */
  older: Record<string, TimedLevel>;
  /** Queue → how the buckets of its keys stood. */
  flows: Record<string, FlowFilling>;
}

/** The same as it lies in the table; of what nobody owned yet there are levels alone. */
export interface Handover extends Partial<LeftLevels> {
  at: number;
  levels: LeftLevels['levels'];
}

export interface TakenShard extends OwnedShard {
  /** Null when the owner before was taken for dead: nobody knows what it spent. */
  handover: Handover | null;
}

export interface NewDispatcher {
  pool: string;
  host: string;
  pid: number;
  /** How long it may be silent until it is struck. Default 10,000. */
  takeoverMs?: number;
  /** The queue that it drains. Default: none, it serves its whole pool. */
  onlyQueue?: number | undefined;
}

/** Enters a dispatcher; its number is in every lease it takes. */
export async function registerDispatcher(
  sql: Sql,
  { pool, host, pid, takeoverMs = 10_000, onlyQueue }: NewDispatcher,
): Promise<number> {
  const [row] = await sql<{ id: number }[]>`
    insert into errand.dispatcher (pool, host, pid, takeover_seconds, only_queue)
    values (${pool}, ${host}, ${pid}, ${takeoverMs / 1000}, ${onlyQueue ?? null}) returning id
  `;
  return row!.id;
}

/** Moves our own counter on and reads everyone's, and what is ours. Each updates only its own row. */
export async function beat(sql: Sql, dispatcher: number): Promise<Heartbeat> {
  const rows = await sql<(DispatcherPulse & Standing)[]>`
    with mine as (
      update errand.dispatcher set heartbeat = heartbeat + 1, seen_at = now()
      where id = ${dispatcher} returning id, pool
    )
    select clock_timestamp() as now, d.id, d.pool, d.heartbeat, d.is_leaving as "isLeaving",
      d.takeover_seconds * 1000 as "takeoverMs", d.only_queue as "onlyQueue",
      exists (select from mine) as mine,
      exists (
        select from errand.ownership o where o.pool = (select pool from mine)
          and not exists (select from errand.dispatcher x where x.id = o.dispatcher)
      ) as free,
      (
        select jsonb_agg(jsonb_build_object('shard', o.shard, 'epoch', o.epoch::text))
        from errand.ownership o
        where o.pool = (select pool from mine) and o.dispatcher = ${dispatcher}
      ) as shards
    from (select 1) one left join errand.dispatcher d on true
  `;
  return {
    databaseTime: rows[0]!.now,
    isAlive: rows[0]!.mine,
    hasFreeShards: rows[0]!.free,
    shards: rows[0]!.shards ?? [],
    dispatchers: rows.filter((row) => row.id !== null),
  };
}

/** The same in each row of a heartbeat. */
interface Standing {
  now: Date;
  mine: boolean;
  free: boolean;
  shards: OwnedShard[] | null;
}

/**
 * Takes shards of a pool that nobody owns, or that one of `dead` does, and raises their epoch. The
 * update waits for a claim in flight (it holds the row FOR SHARE) and makes every later claim of the
 * old owner yield nothing, so a statement after this one sees all its leases. With several contenders
 * the first update wins: the others find another epoch than they saw and take nothing, even from a
 * dispatcher that registered after their statement began.
 */
export async function takeShards(
  sql: Sql,
  input: {
    pool: string;
    dispatcher: number;
    dead: readonly number[];
    limit: number;
    /** The shard alone to take. Default: any. */
    only?: number | undefined;
  },
): Promise<TakenShard[]> {
  return sql<TakenShard[]>`
    update errand.ownership o
    set dispatcher = ${input.dispatcher}, epoch = o.epoch + 1, handover = null
    from (
      select shard, epoch, case when dispatcher is null then handover end as handover
      from errand.ownership f
      where pool = ${input.pool} and shard = coalesce(${input.only ?? null}::smallint, shard)
        and (dispatcher is null or dispatcher = any(${array(sql, 'integer', input.dead)})
          or not exists (select from errand.dispatcher d where d.id = f.dispatcher))
      order by shard limit ${input.limit}
    ) free
    where o.pool = ${input.pool} and o.shard = free.shard and o.epoch = free.epoch
    returning o.shard, o.epoch, free.handover
  `;
}

/**
 * Leases of these shards from before they were taken, by queue: they count against the queue's limits
 * until they are gone. Send it after the take-over, in a statement of its own: only then it sees all.
 */
export async function countForeignLeases(
  sql: Sql,
  taken: readonly OwnedShard[],
): Promise<Map<number, number>> {
  const column = columnsOf(sql, taken);
  const rows = await sql<{ queue: number; leases: number }[]>`
    select l.queue, count(*)::integer as leases
    from unnest(${column('smallint', (t) => t.shard)}, ${column('bigint', (t) => t.epoch)})
      as t(shard, epoch)
    join errand.lease l on l.shard = t.shard and l.epoch < t.epoch
    group by l.queue
  `;
  return new Map(rows.map((row) => [row.queue, row.leases]));
}

/** Lets go of shards, each with the levels of its buckets. What another took meanwhile stays theirs. */
export async function releaseShards(
  sql: Sql,
  input: {
    pool: string;
    dispatcher: number;
    shards: readonly { shard: number; left: LeftLevels }[];
  },
): Promise<void> {
  const column = columnsOf(sql, input.shards);
  await sql`
    update errand.ownership o
    set dispatcher = null, handover = jsonb_build_object(
      'at', extract(epoch from clock_timestamp())::double precision) || r.left_levels::jsonb
    from unnest(${column('smallint', (r) => r.shard)},
      ${column('text', (r) => JSON.stringify(r.left))}) as r(shard, left_levels)
    where o.pool = ${input.pool} and o.shard = r.shard and o.dispatcher = ${input.dispatcher}
  `;
}

/** From now on the others share the shards as if this one were gone. Repeatable. */
export async function announceLeaving(sql: Sql, dispatcher: number): Promise<void> {
  await sql`update errand.dispatcher set is_leaving = true where id = ${dispatcher}`;
}

/**
 * Lets go of shards that are ours by the table though we know nothing of them: the answer of their take-over
 * was lost, or a hand-over failed. Without a hand-over, for the take-over has spent it. Repeatable.
 */
export async function releaseStrays(
  sql: Sql,
  input: { pool: string; dispatcher: number; shards: readonly number[] },
): Promise<void> {
  await sql`
    update errand.ownership set dispatcher = null, handover = null
    where pool = ${input.pool} and dispatcher = ${input.dispatcher}
      and shard = any(${array(sql, 'smallint', input.shards)})
  `;
}

/** Raises the epoch of one's own shard: after it, no claim sent before can still take anything. */
export async function renewEpoch(
  sql: Sql,
  input: { pool: string; shard: number; dispatcher: number },
): Promise<OwnedShard | null> {
  const [row] = await sql<OwnedShard[]>`
    update errand.ownership set epoch = epoch + 1
    where pool = ${input.pool} and shard = ${input.shard} and dispatcher = ${input.dispatcher}
    returning shard, epoch
  `;
  return row ?? null;
}

/** Strikes a dispatcher's row, and lets go of the shards it still has, without a hand-over. Repeatable. */
export async function leave(sql: Sql, dispatcher: number): Promise<void> {
  await sql`
    with freed as (
      update errand.ownership set dispatcher = null where dispatcher = ${dispatcher}
    )
    delete from errand.dispatcher where id = ${dispatcher}
  `;
}

/**
 * Strikes dispatchers that have been taken for dead, unless their counter has moved after all. Their
 * leases are settled as lost by whoever owns the shards; a struck dispatcher finds out at its next beat.
 */
export async function strikeDead(
  sql: Sql,
  dead: readonly { id: number; heartbeat: string }[],
): Promise<number[]> {
  const column = columnsOf(sql, dead);
  const rows = await sql<{ id: number }[]>`
    delete from errand.dispatcher d
    using unnest(${column('integer', (d) => d.id)}, ${column('bigint', (d) => d.heartbeat)})
      as x(id, heartbeat)
    where d.id = x.id and d.heartbeat = x.heartbeat
    returning d.id
  `;
  return rows.map((row) => row.id);
}
