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
import { StoreError, sqlState } from './errors.ts';
import { taskIdText } from './task-id.ts';

/** A row is tried again only when who was in its way had gone by the time he was looked up. */
const MOST_TRIES = 10;

/**
 * The same for tasks with a name or an idempotency key, which can collide: keys and names are claimed
 * in sorted order, all keys before the first name (so that two batches never deadlock; counting them is
 * what makes Postgres insert them all, whatever its plan), with a lock timeout (a name held by an open
 * transaction stalls nobody else for long), and a task is inserted only where both were free. Of rows
 * with the same (queue, name) or (queue, key) in one batch the first counts, the others find it taken.
 *
 * A row whose name is seen to be taken leaves its key free; one whose name is taken in that very moment
 * rolls the statement back (ER001) to the same end: callers then send rows one by one, and see who has it.
 */
export async function enqueueNamedTasks(sql: Sql, tasks: readonly NewTask[]): Promise<Enqueued[]> {
  const results: Enqueued[] = [];
  try {
    await fillResults(sql, tasks, results);
    return results;
  } catch (cause) {
    // Sent again row by row, what was created would find its name taken by itself.
    if (!results.some((result) => result.kind === 'created')) throw cause;
    const message = 'A batch of tasks was written in part before the database failed';
    throw new StoreError('outcome-unknown', message, { cause });
  }
}

/** One statement, and another that looks up who is in the way of the rows it refused. */
async function fillResults(
  sql: Sql,
  tasks: readonly NewTask[],
  results: Enqueued[],
): Promise<void> {
  let left = tasks.map((task, index) => ({ task, index }));
  for (let tries = 0; left.length > 0; tries += 1) {
    if (tries === MOST_TRIES) throw new Error('A name or key was taken, but never by anyone');
    const rows = left.map(({ task }) => task);
    const inserted = await insertFree(sql, rows);
    for (const [at, result] of inserted) results[left[at]!.index] = result;
    const refused = left.filter((_, at) => !inserted.has(at));
    const holders = await findHolders(sql, refused);
    for (const [index, result] of holders) results[index] = result;
    left = refused.filter(({ index }) => !holders.has(index));
  }
}

/** The tasks that were created, by their place in the batch. */
async function insertFree(sql: Sql, tasks: readonly NewTask[]): Promise<Map<number, Enqueued>> {
  const rows = await sql<CreatedRow[]>`
    with bound as materialized (select set_config('lock_timeout', '500ms', true)),
    fresh as materialized (
      select f.*,
        (name is null or row_number() over (partition by queue, name order by ord) = 1)
        and (key is null or row_number() over (partition by queue, key order by ord) = 1) as is_first
      from bound, lateral (${freshTasks(sql, tasks)}) f
    ),
    keyed as (
      insert into errand.idempotency (shard, queue, key, request_hash, task, expires_at)
      select shard, queue, key, request_hash, id, now() + interval '24 hours'
      from fresh f
      where is_first and key is not null and not exists (
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
      select shard, queue, name, id from fresh cross join (select count(*) from keyed) after_all_keys
      where is_first and name is not null and (key is null or id in (select task from keyed))
      order by queue, name
      on conflict (shard, queue, name) do update
        set task = excluded.task, free_from = null
        where task_name.free_from <= now()
      returning task
    ),
    accepted as materialized (
      select * from fresh
      where case
        when not is_first or (key is not null and id not in (select task from keyed)) then false
        when name is null or id in (select task from named) then true
        when key is null then false
        else errand.refuse('name-taken')
      end
    ),
    ${insertTasks(sql, tasks, sql`accepted`)}
    ${selectCreated(sql, sql`accepted`)}
  `;
  return new Map(rows.map((row) => [Number(row.ord) - 1, created(row)]));
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

/**
 * What the requests that had the tasks' Idempotency-Keys before came to; a task whose key is free has no
 * entry. Index: primary key. No locks: a request that is under way is not seen.
 */
export async function findRepeats(
  sql: Sql,
  tasks: readonly NewTask[],
): Promise<Map<NewTask, Enqueued>> {
  const keyed = tasks
    .filter(({ idempotency }) => idempotency !== null)
    .map((task, index) => ({ task, index }));
  const holders = [...(await findHolders(sql, keyed))];
  return new Map(
    holders.flatMap(([index, result]) =>
      result.kind === 'name-taken' ? [] : [[keyed[index]!.task, result]],
    ),
  );
}

/** Who holds the key or the name that refused rows asked for, by their index. Found by primary key. */
async function findHolders(
  sql: Sql,
  refused: readonly { task: NewTask; index: number }[],
): Promise<Map<number, Enqueued>> {
  if (refused.length === 0) return new Map();
  const column = columnsOf(sql, refused);
  const rows = await sql<HolderRow[]>`
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
        and (n.free_from is null or n.free_from > now())
  `;
  return new Map(rows.flatMap((row) => holderOf(row)));
}

interface HolderRow {
  index: number;
  key_task: string | null;
  same: boolean;
  name_task: string | null;
}

/** Nothing when he has let go meanwhile: then the row can be tried again. */
function holderOf({ index, key_task, same, name_task }: HolderRow): [number, Enqueued][] {
  if (key_task !== null) {
    return [[index, { kind: same ? 'repeated' : 'mismatch', taskId: taskIdText(key_task) }]];
  }
  if (name_task !== null) return [[index, { kind: 'name-taken', taskId: taskIdText(name_task) }]];
  return [];
}
