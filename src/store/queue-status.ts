import type { QueueRecord } from '../model.ts';
import type { QueueStatus } from '../protocol/resources.ts';
import { columnsOf } from './array.ts';
import type { Sql } from './database.ts';
import { isLive } from './ownership-list.ts';

/** What the owner alone knows of a queue; the rest of its status is seen by who reads. */
export type OwnersStatus = Pick<QueueStatus, 'openCircuits' | 'rateShare'>;

/** A queue of which its owner has nothing to say. */
export const PLAIN_STATUS: OwnersStatus = { openCircuits: [], rateShare: 1 };

/**
 * Notes what a dispatcher has to say of its queues; meant for changes, which are rare. Of a queue that
 * is deleted or another's by now nothing is written.
 *
 * Index: primary keys. Locks the rows that change, in the order of the queues, so that two dispatchers
 * never wait for each other in a ring. Safe to repeat.
 */
export async function writeQueueStatus(
  sql: Sql,
  dispatcher: number,
  changed: readonly { queue: number; status: OwnersStatus }[],
): Promise<void> {
  const ordered = [...changed].sort((one, other) => one.queue - other.queue);
  const column = columnsOf(sql, ordered);
  await sql`
    insert into errand.queue_status (queue, dispatcher, status)
    select q.id, ${dispatcher}, c.status::jsonb
    from unnest(${column('integer', (c) => c.queue)},
      ${column('text', (c) => JSON.stringify(c.status))}) with ordinality as c(queue, status, ord)
    join errand.queue q on q.id = c.queue and q.deleted_at is null
    join errand.ownership o on o.pool = q.pool and o.shard = q.shard and o.dispatcher = ${dispatcher}
    order by c.ord
    on conflict (queue) do update
    set dispatcher = excluded.dispatcher, status = excluded.status, updated_at = now()
  `;
}

/**
 * Whether a live dispatcher serves the queue, and what its owner says of it; what a dispatcher wrote
 * counts for as long as it lives and owns the queue.
 *
 * Index: primary keys; looks at every dispatcher, which are few. No locks.
 */
export async function readQueueStatus(
  sql: Sql,
  queue: Pick<QueueRecord, 'id' | 'pool' | 'shard'>,
): Promise<Pick<QueueStatus, 'isServed'> & OwnersStatus> {
  const [row] = await sql<{ is_served: boolean; status: OwnersStatus | null }[]>`
    select
      exists (
        select from errand.dispatcher d where d.pool = ${queue.pool} and ${isLive(sql)}
          and not d.is_leaving and (d.only_queue is null or d.only_queue = ${queue.id})
      ) as is_served,
      (
        select s.status from errand.queue_status s
        join errand.ownership o on o.dispatcher = s.dispatcher
        join errand.dispatcher d on d.id = s.dispatcher and ${isLive(sql)}
        where s.queue = ${queue.id} and o.pool = ${queue.pool} and o.shard = ${queue.shard}
      ) as status
  `;
  const { openCircuits, rateShare } = row!.status ?? PLAIN_STATUS;
  return { isServed: row!.is_served, openCircuits, rateShare };
}

/**
 * Deletes what nobody will be shown again: the words of dispatchers that are gone, and those about
 * queues that are. Reads the table, which holds only queues with something to say. Safe to repeat.
 */
export async function deleteStrayStatuses(sql: Sql): Promise<void> {
  await sql`
    delete from errand.queue_status s
    where not exists (select from errand.dispatcher d where d.id = s.dispatcher)
      or not exists (select from errand.queue q where q.id = s.queue and q.deleted_at is null)
  `;
}
