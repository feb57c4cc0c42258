import type { QueueRecord } from '../model.ts';
import type { QueueStatus } from '../protocol/resources.ts';
import { columnsOf } from './array.ts';
import type { Sql } from './database.ts';
import { isLive } from './ownership-list.ts';

/** What the owner knows of a queue; whether anyone serves it is seen by who reads. */
export type OwnersStatus = Omit<QueueStatus, 'isServed'>;

/** A queue of which no owner ever had anything to say. */
export const PLAIN_STATUS: OwnersStatus = { closedUntil: null, openCircuits: [], rateShare: 1 };

/**
 * Notes what a dispatcher has to say of its queues; meant for changes, which are rare. The last word
 * counts: that of a dispatcher which lost the queue meanwhile stands until the new owner speaks.
 *
 * Index: primary key. Locks the rows that change, in the order of the queues, so that two dispatchers
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
    select c.queue, ${dispatcher}, c.status::jsonb
    from unnest(${column('integer', (c) => c.queue)},
      ${column('text', (c) => JSON.stringify(c.status))}) as c(queue, status)
    on conflict (queue) do update
    set dispatcher = excluded.dispatcher, status = excluded.status, updated_at = now()
  `;
}

/** Index: primary key; looks at every dispatcher, which are few. No locks. */
export async function readQueueStatus(
  sql: Sql,
  queue: Pick<QueueRecord, 'id' | 'pool'>,
): Promise<QueueStatus> {
  const [row] = await sql<{ is_served: boolean; status: Partial<OwnersStatus> | null }[]>`
    select
      exists (
        select from errand.dispatcher d where d.pool = ${queue.pool} and ${isLive(sql)}
      ) as is_served,
      (select status from errand.queue_status where queue = ${queue.id}) as status
  `;
  return { isServed: row!.is_served, ...PLAIN_STATUS, ...row!.status };
}
