import type { Sql } from './database.ts';

/**
 * A dispatcher that was not seen for this long, or for its own take-over time where that is longer,
 * serves nothing: its shards are about to be taken.
 */
export const LIVE_SECONDS = 15;

export interface DispatcherRecord {
  id: number;
  pool: string;
  host: string;
  pid: number;
  startedAt: Date;
  seenAt: Date;
  isLive: boolean;
  /** In order. */
  shards: number[];
}

/** Every dispatcher that has not been struck, and what it owns. Reads two small tables. No locks. */
export async function listDispatchers(sql: Sql): Promise<DispatcherRecord[]> {
  return sql<DispatcherRecord[]>`
    select d.id, d.pool, d.host, d.pid, d.started_at as "startedAt", d.seen_at as "seenAt",
      ${isLive(sql)} as "isLive",
      coalesce(jsonb_agg(o.shard order by o.shard) filter (where o.shard is not null), '[]') as shards
    from errand.dispatcher d left join errand.ownership o on o.dispatcher = d.id
    group by d.id order by d.pool, d.id
  `;
}

export interface UnservedPool {
  pool: string;
  /** How many queues are set to it. */
  queues: number;
}

/**
 * Pools that queues are set to and that no live dispatcher serves; a drain serves one queue, not the
 * pool. Reads the table of queues. No locks.
 */
export async function listUnservedPools(sql: Sql): Promise<UnservedPool[]> {
  return sql<UnservedPool[]>`
    select q.pool, count(*)::integer as queues from errand.queue q
    where q.deleted_at is null
      and not exists (select from errand.dispatcher d where d.pool = q.pool
        and d.only_queue is null and not d.is_leaving and ${isLive(sql)})
    group by q.pool order by q.pool
  `;
}

/** By the database's clock, whatever the processes take the time to be. `d` is the dispatcher. */
export function isLive(sql: Sql) {
  return sql`(d.seen_at > now() - make_interval(
    secs => greatest(${LIVE_SECONDS}::double precision, d.takeover_seconds)))`;
}
