import type { QueueRecord } from '../model.ts';
import { array } from './array.ts';
import type { Sql } from './database.ts';
import { HOLDER_RANK } from './park.ts';
import { taskIdText } from './task-id.ts';

/** A queue whose flow keys are looked at. */
export type FlowQueue = Pick<QueueRecord, 'id' | 'shard'>;

/** A task that holds its key, or that is in flight for it. */
export interface KeyTask {
  flowKey: string;
  taskId: string;
}

/**
 * Queues of these shards that have parked tasks, with their versions now. A loose index scan on the primary key of `parked`: one
 * probe a queue, however many keys and tasks are parked there.
 */
export async function findParkedQueues(
  sql: Sql,
  pool: string,
  shards: readonly number[],
): Promise<(FlowQueue & { version: number })[]> {
  const rows = await sql<(FlowQueue & { version: string })[]>`
    with recursive head as (
      select p.* from unnest(${array(sql, 'smallint', shards)}) as s(shard)
      cross join lateral (
        select p.shard, p.queue from errand.parked p where p.shard = s.shard
        order by p.queue limit 1
      ) p
      union all
      select n.* from head h
      cross join lateral (
        select p.shard, p.queue from errand.parked p
        where p.shard = h.shard and p.queue > h.queue order by p.queue limit 1
      ) n
    )
    select q.id, h.shard, q.version from head h
    join errand.queue q on q.id = h.queue and q.pool = ${pool}
  `;
  return rows.map((row) => ({ ...row, version: Number(row.version) }));
}

/**
 * The flow keys of a queue that have parked tasks, in the order of the index, at most `limit` of those
 * after `afterKey` (null = from the first). One probe a key of the primary key of `parked`.
 */
export async function findParkedKeys(
  sql: Sql,
  { id, shard }: FlowQueue,
  { afterKey, limit }: { afterKey: string | null; limit: number },
): Promise<string[]> {
  const from = afterKey === null ? sql`true` : sql`p.flow_key > ${afterKey}`;
  const rows = await sql<{ flow_key: string }[]>`
    with recursive head as (
      (select p.flow_key from errand.parked p
        where p.shard = ${shard} and p.queue = ${id} and ${from} order by p.flow_key limit 1)
      union all
      select n.flow_key from head h
      cross join lateral (
        select p.flow_key from errand.parked p
        where p.shard = ${shard} and p.queue = ${id} and p.flow_key > h.flow_key
        order by p.flow_key limit 1
      ) n
    )
    select flow_key from head limit ${limit}
  `;
  return rows.map((row) => row.flow_key);
}

/**
 * Tasks that hold their keys in an ordered queue: begun, and not ended, wherever they wait. By the partial
 * indexes that hold what has begun, so its cost grows with the retries under way.
 */
export async function findHeldKeys(
  sql: Sql,
  { id, shard }: FlowQueue,
): Promise<(KeyTask & { isParked: boolean })[]> {
  const rows = await sql<{ flow_key: string; task: string; is_parked: boolean }[]>`
    with begun as (
      select task, step, true as is_parked from errand.parked
      where shard = ${shard} and queue = ${id} and rank = ${sql.unsafe(String(HOLDER_RANK))}
      union all
      select task, step, false from errand.scheduled
      where shard = ${shard} and queue = ${id} and (attempt > 0 or step > 0)
      union all
      select task, step, false from errand.ready
      where shard = ${shard} and queue = ${id} and (attempt > 0 or step > 0)
    )
    select t.flow_key, b.task, b.is_parked
    from begun b join errand.task t on t.shard = ${shard} and t.id = b.task and t.step = b.step
    where t.flow_key is not null
    order by b.is_parked desc, b.task
  `;
  return rows.map((row) => ({
    flowKey: row.flow_key,
    taskId: taskIdText(row.task),
    isParked: row.is_parked,
  }));
}

/**
 * Leases of a queue whose tasks have a flow key: calls that may be in flight, which count against their
 * keys until they are settled. Reads the shard's leases.
 */
export async function findFlowLeases(sql: Sql, { id, shard }: FlowQueue): Promise<KeyTask[]> {
  const rows = await sql<{ flow_key: string; task: string }[]>`
    select flow_key, task from errand.lease
    where shard = ${shard} and queue = ${id} and flow_key is not null
  `;
  return rows.map((row) => ({ flowKey: row.flow_key, taskId: taskIdText(row.task) }));
}

/**
 * Which of these tasks live still, and which of them are leased or parked: ended, cancelled and removed
 * ones do not. By the (shard, task) keys of the rooms.
 */
export async function findLivingTasks(
  sql: Sql,
  shard: number,
  taskIds: readonly string[],
): Promise<{ living: Set<string>; leased: Set<string>; parked: Set<string> }> {
  const rows = await sql<{ task: string; is_leased: boolean; is_parked: boolean }[]>`
    select d.task, l.is_leased, l.is_parked
    from unnest(${array(sql, 'uuid', taskIds)}) as d(task)
    cross join lateral (
      select exists (select from errand.lease r where r.shard = ${shard} and r.task = d.task) as is_leased,
        exists (select from errand.parked r where r.shard = ${shard} and r.task = d.task) as is_parked
    ) l
    where l.is_leased or l.is_parked
      or exists (select from errand.scheduled r where r.shard = ${shard} and r.task = d.task)
      or exists (select from errand.ready r where r.shard = ${shard} and r.task = d.task)
  `;
  const ids = (some: readonly { task: string }[]) =>
    new Set(some.map(({ task }) => taskIdText(task)));
  return {
    living: ids(rows),
    leased: ids(rows.filter((row) => row.is_leased)),
    parked: ids(rows.filter((row) => row.is_parked)),
  };
}
