import type { QueueRecord } from '../model.ts';
import type { Sql } from './database.ts';
import { firstQueue, type QueueRow, queueColumns } from './queue.ts';

/**
 * Throws away every task that is scheduled or ready now; what is leased ends with its attempt. Null
 * when there is no such queue.
 *
 * Index: `queue_name`. Locks the queue's row, touches no task: claims stop at `is_purging`, reads and
 * settlements at `purged_before`, and housekeeping deletes the rows in batches. Ids are made from the
 * database's clock, so an id of this very microsecond belongs to a task that was here before.
 */
export async function purgeQueue(
  sql: Sql,
  project: string,
  name: string,
): Promise<QueueRecord | null> {
  const rows = await sql<QueueRow[]>`
    update errand.queue q set version = version + 1, updated_at = now(), is_purging = true,
      purged_before = errand.lowest_task_id(clock_timestamp() + interval '1 microsecond')
    where project = ${project} and name = ${name} and deleted_at is null
    returning ${queueColumns(sql)}
  `;
  return firstQueue(rows);
}

export type QueueDeletion = 'deleted' | 'not-found' | 'not-empty';

/**
 * Deletes a queue: its row stays as a tombstone and its name is free at once. Unless `force`, a queue
 * that has scheduled, ready or leased tasks is left alone.
 *
 * Index: `queue_name`; primary keys of `ready`, `parked` and `lease`, the last by shard alone;
 * `scheduled_by_queue`. After a purge whose rows still lie there it reads them all: give it more time
 * than other verbs. Locks the queue's row. An enqueue that knew the queue from
 * before may still commit after us, hence the tombstone is paused and purged past every id: what comes
 * late goes the way of a forced deletion.
 */
export async function deleteQueue(
  sql: Sql,
  input: { project: string; name: string; force: boolean },
): Promise<QueueDeletion> {
  const [row] = await sql<{ is_found: boolean; is_deleted: boolean }[]>`
    with target as materialized (
      select id, shard from errand.queue
      where project = ${input.project} and name = ${input.name} and deleted_at is null
      for update
    ),
    gone as (
      update errand.queue q set deleted_at = now(), paused_at = now(), updated_at = now(),
        version = version + 1, is_purging = true,
        purged_before = 'ffffffff-ffff-ffff-ffff-ffffffffffff'
      from target t
      where q.id = t.id and (${input.force} or not (
        exists (select from errand.ready r where r.shard = t.shard and r.queue = t.id
          and r.task >= coalesce(q.purged_before, ${LOWEST_ID}))
        or exists (select from errand.parked p where p.shard = t.shard and p.queue = t.id
          and p.task >= coalesce(q.purged_before, ${LOWEST_ID}))
        or exists (select from errand.lease l where l.shard = t.shard and l.queue = t.id)
        or exists (select from errand.scheduled s where s.shard = t.shard and s.queue = t.id
          and s.task >= coalesce(q.purged_before, ${LOWEST_ID}))
      ))
      returning q.id
    ),
    unsaid as (
      delete from errand.queue_status where queue in (select id from gone)
    )
    select exists (select from target) as is_found, exists (select from gone) as is_deleted
  `;
  if (row!.is_deleted) return 'deleted';
  return row!.is_found ? 'not-empty' : 'not-found';
}

const LOWEST_ID = '00000000-0000-0000-0000-000000000000';
