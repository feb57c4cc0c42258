import type { Sql } from './database.ts';

/** A draw on a project's allowance. */
export interface Draw {
  /** How many tasks may be enqueued: 0 to what was wanted. */
  granted: number;
  /** Seconds until there is one more; null when there never is. */
  nextInSeconds: number | null;
}

/**
 * How many tasks of a project wait, over all its queues: ready, parked by their flow key, or scheduled.
 * Counts up to `atMost` in each of the three, so it is exact below that and at least `atMost` above it.
 * What a purge has passed counts until its rows are gone.
 *
 * Index: `queue_name` for the queues, then the primary keys of `ready` and `parked`, and
 * `scheduled_by_queue`. No locks.
 */
export async function countProjectBacklog(
  sql: Sql,
  project: string,
  atMost: number,
): Promise<number> {
  const waiting = (room: ReturnType<Sql>, order: ReturnType<Sql>) => sql`
    (select count(*) from (
      select from errand.queue q cross join lateral (
        select from ${room} r where r.shard = q.shard and r.queue = q.id
        order by ${order} limit ${atMost}
      ) w
      where q.project = ${project} and q.deleted_at is null
      limit ${atMost}
    ) c)`;
  const [row] = await sql<{ waiting: number }[]>`
    select (
      ${waiting(sql`errand.ready`, sql`r.rank, r.seq`)}
      + ${waiting(sql`errand.parked`, sql`r.flow_key, r.rank, r.seq`)}
      + ${waiting(sql`errand.scheduled`, sql`r.shard, r.queue`)}
    )::integer as waiting
  `;
  return row!.waiting;
}

/**
 * Draws up to `wanted` tokens from the bucket that all processes share for a project's enqueues; it is
 * full at first. Index: primary key. Locks the project's allowance for the statement, and reckons from
 * the row as it is under that lock, so that no token is drawn twice. Not safe to repeat: a repeat draws
 * again.
 */
export async function drawAllowance(
  sql: Sql,
  project: string,
  wanted: number,
  { ratePerSecond, burst }: { ratePerSecond: number; burst: number },
): Promise<Draw> {
  const level = sql`least(${burst}::double precision, a.tokens + ${ratePerSecond}::double precision
    * greatest(0, extract(epoch from clock_timestamp() - a.refilled_at)::double precision))`;
  const granted = sql`least(${wanted}::double precision, floor(${level}))`;
  const first = Math.min(wanted, burst);
  const [row] = await sql<{ granted: number; tokens: number }[]>`
    insert into errand.project_allowance as a (project, tokens, granted, refilled_at)
    values (${project}, ${burst - first}, ${first}, clock_timestamp())
    on conflict (project) do update set
      granted = ${granted}, tokens = ${level} - ${granted}, refilled_at = clock_timestamp()
    returning granted, tokens
  `;
  const missing = Math.max(0, 1 - row!.tokens);
  return {
    granted: row!.granted,
    nextInSeconds: ratePerSecond > 0 ? missing / ratePerSecond : null,
  };
}
