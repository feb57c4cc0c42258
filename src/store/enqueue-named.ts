import { columnsOf } from './array.ts';
import type { Sql } from './database.ts';
import {
  type CreatedRow,
  created,
  type Enqueued,
  freshTasks,
  insertTasks,
  type NewTask,
  selectCreated,
} from './enqueue.ts';
import { sqlState } from './errors.ts';
import { taskIdText } from './task-id.ts';

/**
 * The same for tasks with a name or an idempotency key, which can collide: keys and names are claimed
 * in sorted order (so that two batches never deadlock), with a lock timeout (a name held by an open
 * transaction stalls nobody else for long), and a task is inserted only where both were free.
 *
 * A batch must not repeat a (queue, name) or (queue, key). A row whose name is seen to be taken leaves
 * its key free; one whose name is taken in that very moment rolls the statement back (ER001) to the same
 * end: callers then send rows one by one, and see who has it.
 */
export async function enqueueNamedTasks(sql: Sql, tasks: readonly NewTask[]): Promise<Enqueued[]> {
  const rows = await sql<CreatedRow[]>`
    with bound as materialized (select set_config('lock_timeout', '500ms', true)),
    fresh as materialized (
      select f.* from bound, lateral (${freshTasks(sql, tasks)}) f
    ),
    keyed as (
      insert into errand.idempotency (shard, queue, key, request_hash, task, expires_at)
      select shard, queue, key, request_hash, id, now() + interval '24 hours'
      from fresh f
      where key is not null and not exists (
        select from errand.task_name n
        where n.shard = f.shard and n.queue = f.queue and n.name = f.name
          and (n.free_from is null or n.free_from > now()))
      order by queue, key
      on conflict (shard, queue, key) do update
        set request_hash = excluded.request_hash, task = excluded.task, expires_at = excluded.expires_at
        where idempotency.expires_at <= now()
      returning task
    ),
    named as (
      insert into errand.task_name (shard, queue, name, task)
      select shard, queue, name, id from fresh
      where name is not null and (key is null or id in (select task from keyed))
      order by queue, name
      on conflict (shard, queue, name) do update
        set task = excluded.task, free_from = null
        where task_name.free_from <= now()
      returning task
    ),
    accepted as materialized (
      select * from fresh
      where (key is null or id in (select task from keyed))
        and case
          when name is null or id in (select task from named) then true
          when key is null then false
          else errand.refuse('name-taken')
        end
    ),
    ${insertTasks(sql, sql`accepted`)}
    ${selectCreated(sql, sql`accepted`)}
  `;
  const byOrd = new Map(rows.map((row) => [Number(row.ord), created(row)]));
  const refused = tasks.flatMap((task, index) => (byOrd.has(index + 1) ? [] : [{ task, index }]));
  const holders = await findHolders(sql, refused);
  return tasks.map((_, index) => byOrd.get(index + 1) ?? holders.get(index)!);
}

/** True for a failure that concerns one row of a batch, so that the others should be sent without it. */
export function isRowRefused(error: unknown): boolean {
  const code = sqlState(error);
  // ER001: errand.refuse(); 55P03: a name is held by an open transaction; 22, 23: data and constraints.
  return (
    code === 'ER001' ||
    code === '55P03' ||
    code?.startsWith('22') === true ||
    code?.startsWith('23') === true
  );
}

/** Who holds the key or the name that a refused row asked for. Found by primary key. */
async function findHolders(
  sql: Sql,
  refused: readonly { task: NewTask; index: number }[],
): Promise<Map<number, Enqueued>> {
  if (refused.length === 0) return new Map();
  const column = columnsOf(sql, refused);
  const rows = await sql<
    { index: number; key_task: string | null; same: boolean; name_task: string | null }[]
  >`
    select i.index, k.task as key_task, k.request_hash = i.request_hash as same, n.task as name_task
    from unnest(
      ${column('integer', (r) => r.index)}, ${column('smallint', (r) => r.task.shard)},
      ${column('integer', (r) => r.task.queue)},
      ${column('text', (r) => r.task.idempotency?.key ?? null)},
      ${column('bytea', (r) => r.task.idempotency?.requestHash ?? null)},
      ${column('text', (r) => r.task.name)}
    ) as i(index, shard, queue, key, request_hash, name)
    left join errand.idempotency k
      on k.shard = i.shard and k.queue = i.queue and k.key = i.key and k.expires_at > now()
    left join errand.task_name n
      on n.shard = i.shard and n.queue = i.queue and n.name = i.name
  `;
  return new Map(rows.map((row) => [row.index, holder(row)]));
}

function holder(row: {
  key_task: string | null;
  same: boolean;
  name_task: string | null;
}): Enqueued {
  if (row.key_task !== null) {
    return { kind: row.same ? 'repeated' : 'mismatch', taskId: taskIdText(row.key_task) };
  }
  return { kind: 'name-taken', taskId: taskIdText(row.name_task ?? '') };
}
