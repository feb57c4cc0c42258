import type { QueueRecord } from '../model.ts';
import { array } from './array.ts';
import type { Sql } from './database.ts';
import type { DispatcherPulse } from './ownership.ts';
import { taskIdText } from './task-id.ts';

/** What a drain still has to see gone. */
export interface DrainCounts {
  /** Ready, parked, or due: at most MAX_DRAIN_COUNTED of each. */
  waiting: number;
  leased: number;
}

/** Counts stop here: a longer queue is only known to be longer. */
export const MAX_DRAIN_COUNTED = 100_000;

/**
 * What of a queue is waiting or in flight now; what is scheduled for later is left out, retries too.
 *
 * Index: primary keys of `ready` and `parked` (shard, queue, …); those of `scheduled` up to now and of
 * `lease` by shard, which are few. No locks.
 */
export async function countForDrain(
  sql: Sql,
  { id, shard }: Pick<QueueRecord, 'id' | 'shard'>,
): Promise<DrainCounts> {
  const [row] = await sql<DrainCounts[]>`
    select
      (select count(*)::integer from (
        select from errand.ready where shard = ${shard} and queue = ${id}
        limit ${MAX_DRAIN_COUNTED}) r)
      + (select count(*)::integer from (
        select from errand.parked where shard = ${shard} and queue = ${id}
        limit ${MAX_DRAIN_COUNTED}) p)
      + (select count(*)::integer from (
        select from errand.scheduled where shard = ${shard} and due_at <= now() and queue = ${id}
        limit ${MAX_DRAIN_COUNTED}) s) as waiting,
      (select count(*)::integer from errand.lease
        where shard = ${shard} and queue = ${id}) as leased
  `;
  return row!;
}

/** Scheduled for later, at most MAX_DRAIN_COUNTED. Walks the shard's schedule: for one look. No locks. */
export async function countScheduledLater(
  sql: Sql,
  { id, shard }: Pick<QueueRecord, 'id' | 'shard'>,
): Promise<number> {
  const [row] = await sql<{ later: number }[]>`
    select count(*)::integer as later from (
      select from errand.scheduled where shard = ${shard} and due_at > now() and queue = ${id}
      limit ${MAX_DRAIN_COUNTED}) s
  `;
  return row!.later;
}

/** The tasks that come next in a queue, in order: ready ones, then parked and due ones. No locks. */
export async function findNextTasks(
  sql: Sql,
  { id, shard }: Pick<QueueRecord, 'id' | 'shard'>,
  limit: number,
): Promise<string[]> {
  const rows = await sql<{ task: string }[]>`
    (select task from errand.ready where shard = ${shard} and queue = ${id}
      order by rank, seq limit ${limit})
    union all
    (select task from errand.parked where shard = ${shard} and queue = ${id} limit ${limit})
    union all
    (select task from errand.scheduled where shard = ${shard} and due_at <= now() and queue = ${id}
      order by due_at limit ${limit})
    limit ${limit}
  `;
  return rows.map(({ task }) => taskIdText(task));
}

/** How many of these tasks wait for a dispatch or are in flight. By the (shard, task) keys. No locks. */
export async function countUndone(
  sql: Sql,
  shard: number,
  taskIds: readonly string[],
): Promise<number> {
  const [row] = await sql<{ undone: number }[]>`
    select count(*)::integer as undone
    from unnest(${array(sql, 'uuid', taskIds)}) as t(id)
    where exists (select from errand.ready r where r.shard = ${shard} and r.task = t.id)
      or exists (select from errand.parked p where p.shard = ${shard} and p.task = t.id)
      or exists (select from errand.lease l where l.shard = ${shard} and l.task = t.id)
      or exists (select from errand.scheduled s
        where s.shard = ${shard} and s.task = t.id and s.due_at <= now())
  `;
  return row!.undone;
}

/** Another dispatcher of the queue's pool, be it alive or not. */
export interface OtherDispatcher extends Omit<DispatcherPulse, 'pool' | 'isLeaving'> {
  /** True for the owner of the queue's shard. */
  isOwner: boolean;
}

/**
 * The dispatchers that could dispatch the queue, `except` left aside; one that is leaving only ends its
 * calls. Reads small tables. No locks.
 */
export async function listOthers(
  sql: Sql,
  { id, pool, shard }: Pick<QueueRecord, 'id' | 'pool' | 'shard'>,
  { except }: { except: { host: string; pid: number } },
): Promise<OtherDispatcher[]> {
  return sql<OtherDispatcher[]>`
    select d.id, d.heartbeat, d.takeover_seconds * 1000 as "takeoverMs", d.only_queue as "onlyQueue",
      exists (
        select from errand.ownership o
        where o.pool = ${pool} and o.shard = ${shard} and o.dispatcher = d.id
      ) as "isOwner"
    from errand.dispatcher d
    where d.pool = ${pool} and not d.is_leaving
      and (d.only_queue is null or d.only_queue = ${id})
      and (d.host <> ${except.host} or d.pid <> ${except.pid})
  `;
}
