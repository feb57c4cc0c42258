import { array, columnsOf } from './array.ts';
import type { Sql } from './database.ts';

/** What one heartbeat tells: the database's time, and every dispatcher's counter. */
export interface Heartbeat {
  databaseTime: Date;
  /** False when our own row is gone: others took us for dead, and we must begin anew. */
  isAlive: boolean;
  /** True when the pool has shards that nobody owns. */
  hasFreeShards: boolean;
  dispatchers: { id: number; pool: string; heartbeat: string }[];
}

export interface OwnedShard {
  shard: number;
  epoch: string;
}

/** Enters a dispatcher; its number is in every lease it takes. */
export async function registerDispatcher(
  sql: Sql,
  input: { pool: string; host: string; pid: number },
): Promise<number> {
  const [row] = await sql<{ id: number }[]>`
    insert into errand.dispatcher (pool, host, pid)
    values (${input.pool}, ${input.host}, ${input.pid}) returning id
  `;
  return row!.id;
}

/** Moves our own counter on and reads everyone's. Each updates only its own row. */
export async function beat(sql: Sql, dispatcher: number): Promise<Heartbeat> {
  const rows = await sql<
    { now: Date; id: number; pool: string; heartbeat: string; mine: boolean; free: boolean }[]
  >`
    with mine as (
      update errand.dispatcher set heartbeat = heartbeat + 1, seen_at = now()
      where id = ${dispatcher} returning id, pool
    )
    select clock_timestamp() as now, d.id, d.pool, d.heartbeat,
      exists (select from mine) as mine,
      exists (
        select from errand.ownership o where o.pool = (select pool from mine)
          and not exists (select from errand.dispatcher x where x.id = o.dispatcher)
      ) as free
    from (select 1) one left join errand.dispatcher d on true
  `;
  return {
    databaseTime: rows[0]!.now,
    isAlive: rows[0]!.mine,
    hasFreeShards: rows[0]!.free,
    dispatchers: rows.filter((row) => row.id !== null),
  };
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
  input: { pool: string; dispatcher: number; dead: readonly number[]; limit: number },
): Promise<OwnedShard[]> {
  return sql<OwnedShard[]>`
    update errand.ownership o set dispatcher = ${input.dispatcher}, epoch = o.epoch + 1
    from (
      select shard, epoch from errand.ownership f
      where pool = ${input.pool}
        and (dispatcher is null or dispatcher = any(${array(sql, 'integer', input.dead)})
          or not exists (select from errand.dispatcher d where d.id = f.dispatcher))
      order by shard limit ${input.limit}
    ) free
    where o.pool = ${input.pool} and o.shard = free.shard and o.epoch = free.epoch
    returning o.shard, o.epoch
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

/** Lets go of every shard of a dispatcher and strikes its row. Safe to repeat. */
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
