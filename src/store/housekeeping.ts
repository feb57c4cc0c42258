import { array } from './array.ts';
import type { Sql } from './database.ts';

/**
 * Whether a day may be dropped: nothing of it is live or still retained. Stops at the first retained
 * row; only when there is none does it look for tasks without a finished row, which are live.
 */
export async function isDayOver(sql: Sql, day: string): Promise<boolean> {
  const [row] = await sql<{ is_over: boolean }[]>`
    select (timestamp ${sql.unsafe(`'${day}'`)} + interval '1 day') at time zone 'utc' < now()
      and not exists (
        select from ${sql(`errand.finished_${day}`)} f where f.retained_until > now())
      and not exists (
        select from ${sql(`errand.task_${day}`)} t
        where not exists (
          select from ${sql(`errand.finished_${day}`)} f where f.shard = t.shard and f.task = t.id)
      ) as is_over
  `;
  return row!.is_over;
}

/**
 * Deletes what a past day holds of tasks whose retention ended over a day ago: most days are dropped
 * whole before this finds anything; it is for the day that a few survivors hold. Walks the primary key
 * of `finished` from `after` on, at most `limit` rows looked at; null = the day is done.
 */
export async function thinDay(
  sql: Sql,
  day: string,
  input: { after: { shard: number; task: string }; limit: number },
): Promise<{ next: { shard: number; task: string } | null; deleted: number }> {
  const [row] = await sql<
    { shard: number | null; task: string | null; seen: number; deleted: number }[]
  >`
    with seen as materialized (
      select shard, task, retained_until from ${sql(`errand.finished_${day}`)}
      where (shard, task) > (${input.after.shard}, ${input.after.task})
      order by shard, task limit ${input.limit}
    ),
    gone as (
      delete from ${sql(`errand.finished_${day}`)} f using seen s
      where f.shard = s.shard and f.task = s.task and s.retained_until < now() - interval '1 day'
      returning f.shard, f.task
    ),
    cold as (
      delete from ${sql(`errand.task_${day}`)} t using gone g where t.shard = g.shard and t.id = g.task
    ),
    log as (
      delete from ${sql(`errand.attempt_${day}`)} a using gone g
      where a.shard = g.shard and a.task = g.task
    )
    select l.shard, l.task, (select count(*)::integer from seen) as seen,
      (select count(*)::integer from gone) as deleted
    from (select 1) one
    left join (select shard, task from seen order by shard desc, task desc limit 1) l on true
  `;
  const isDone = row!.seen < input.limit;
  return {
    next: isDone ? null : { shard: row!.shard!, task: row!.task! },
    deleted: row!.deleted,
  };
}

/** Deletes names and idempotency keys whose time is over, by their expiry indexes. Returns how many. */
export async function deleteExpiredKeys(sql: Sql, limit: number): Promise<number> {
  const [row] = await sql<{ deleted: number }[]>`
    with names as (
      delete from errand.task_name n
      using (
        select shard, queue, name from errand.task_name where free_from <= now()
        order by free_from limit ${limit} for update skip locked
      ) x
      where n.shard = x.shard and n.queue = x.queue and n.name = x.name
      returning 1
    ),
    keys as (
      delete from errand.idempotency i
      using (
        select shard, queue, key from errand.idempotency where expires_at <= now()
        order by expires_at limit ${limit} for update skip locked
      ) x
      where i.shard = x.shard and i.queue = x.queue and i.key = x.key
      returning 1
    )
    select (select count(*) from names)::integer + (select count(*) from keys)::integer as deleted
  `;
  return row!.deleted;
}

/**
 * Queues of these shards whose purge is not done, or was asked for in the last half minute: a statement
 * that began before a purge may commit after its last batch.
 */
export async function listPurges(
  sql: Sql,
  shards: readonly number[],
): Promise<{ queue: number; shard: number }[]> {
  return sql<{ queue: number; shard: number }[]>`
    select id as queue, shard from errand.queue
    where shard = any(${array(sql, 'smallint', shards)})
      and (is_purging or purged_before between errand.lowest_task_id(now() - interval '30 seconds')
        and errand.lowest_task_id(now()))
  `;
}

/**
 * One batch of a purge: deletes what lies in `ready`, `parked` and `scheduled` of a queue from before its
 * purge, with the cold rows and the names. The first two go by their primary keys; `scheduled` has no
 * index by queue, so its shard is walked (a purge is rare, the walk bounded by the limit). None is joined
 * with the queue's row: planned by hash, that read 97,000 rows for 50. When nothing is left, the queue may
 * be claimed from again, with a new version. Returns how many tasks went.
 */
export async function purgeBatch(
  sql: Sql,
  input: { queue: number; shard: number; limit: number },
): Promise<number> {
  const purged = (room: 'ready' | 'parked' | 'scheduled') => sql`
    delete from ${sql(`errand.${room}`)} where ctid = any(array(
      select ctid from ${sql(`errand.${room}`)}
      where shard = ${input.shard} and queue = ${input.queue}
        and task < (select purged_before from target)
      limit ${input.limit} for update
    ))
    returning shard, task`;
  const [row] = await sql<{ deleted: number }[]>`
    with target as materialized (
      select id, purged_before from errand.queue
      where id = ${input.queue} and purged_before is not null
    ),
    from_ready as (${purged('ready')}),
    from_parked as (${purged('parked')}),
    from_scheduled as (${purged('scheduled')}),
    gone as materialized (
      select * from from_ready union all select * from from_parked union all select * from from_scheduled
    ),
    cold as (
      delete from errand.task t using gone g
      where t.shard = g.shard and t.id = g.task
      returning t.shard, t.id, t.queue, t.name
    ),
    names as (
      delete from errand.task_name n using cold t
      where t.name is not null and n.shard = t.shard and n.queue = t.queue and n.name = t.name
        and n.task = t.id
    ),
    log as (
      delete from errand.attempt a using gone g where a.shard = g.shard and a.task = g.task
    ),
    done as (
      update errand.queue set is_purging = false, version = version + 1
      where id = (select id from target) and is_purging and not exists (select from gone)
    )
    select count(*)::integer as deleted from gone
  `;
  return row!.deleted;
}
