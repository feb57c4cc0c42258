import type { ClaimedTask, LeaseGrant } from '../model.ts';
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

/** A task of which its owner gave its word, or null, that it may be dispatched at once. */
export interface ReservedTask {
  task: NewTask;
  grant: LeaseGrant | null;
}

/** What became of one: `lease` when it was leased as it was enqueued. */
export interface ReservedResult {
  result: Enqueued;
  lease: ClaimedTask | null;
}

/**
 * Enqueues tasks that carry neither name nor idempotency key, of which the owner of the queue, in the same
 * process, wants some in hand at once: those come to lie in `lease` instead of `ready`, so that a task
 * costs one commit before its call instead of two.
 *
 * It is a claim as well, so its fences are those of claimTasks: the ownership row by epoch and the queue's
 * row by version, both held `FOR SHARE`. Rows that another is changing are skipped; what finds its owner
 * or its queue changed, or a task of its rank in `ready` before it, goes to `ready` like any other. So it
 * waits for nobody. Results are in the order of the input. Not safe to repeat.
 */
export async function enqueueReservedTasks(
  sql: Sql,
  items: readonly ReservedTask[],
): Promise<ReservedResult[]> {
  const grants = items.flatMap(({ task, grant }, index) =>
    grant === null ? [] : [{ ...grant, shard: task.shard, queue: task.queue, ord: index + 1 }],
  );
  const column = columnsOf(sql, grants);
  const owned = columnsOf(sql, [...new Map(grants.map((g) => [g.shard, g])).values()]);
  const open = columnsOf(sql, [...new Map(grants.map((g) => [g.queue, g])).values()]);
  const { pool, dispatcher } = grants[0]!;
  const tasks = items.map(({ task }) => task);
  const rows = await sql<(CreatedRow & { lease_id: string | null })[]>`
    with fresh as materialized (${freshTasks(sql, tasks)}),
    owned as materialized (
      select o.shard, o.epoch
      from unnest(${owned('smallint', (g) => g.shard)}, ${owned('bigint', (g) => g.epoch)})
        as w(shard, epoch)
      join errand.ownership o on o.pool = ${pool} and o.shard = w.shard and o.epoch = w.epoch
        and o.dispatcher = ${dispatcher}
      for share of o skip locked
    ),
    open as materialized (
      select w.queue as id, w.version
      from unnest(${open('integer', (g) => g.queue)}, ${open('bigint', (g) => g.version)})
        as w(queue, version)
      cross join lateral (
        select from errand.queue q
        where q.id = w.queue and q.version = w.version and q.pool = ${pool}
          and q.paused_at is null and not q.is_purging and q.deleted_at is null
        limit 1 for share skip locked
      ) q
    ),
    first as materialized (
      select f.*, g.claim, g.epoch, gen_random_uuid() as lease_id, now() + make_interval(
          secs => coalesce(f.deadline_ms / 1000.0, g.deadline) + g.margin) as expires_at
      from unnest(
        ${column('integer', (g) => g.ord)}, ${column('bigint', (g) => g.claim)},
        ${column('bigint', (g) => g.epoch)}, ${column('bigint', (g) => g.version)},
        ${column('bigint', (g) => g.afterSeq)},
        ${column('float', (g) => g.dispatchDeadlineSeconds)},
        ${column('float', (g) => g.leaseMarginSeconds)}
      ) as g(ord, claim, epoch, version, after, deadline, margin)
      join fresh f on f.ord = g.ord and f.scheduled_at <= now()
      join owned o on o.shard = f.shard and o.epoch = g.epoch
      join open q on q.id = f.queue and q.version = g.version
      where (
        select r.seq from errand.ready r
        where r.shard = f.shard and r.queue = f.queue and r.rank = f.rank and r.seq > g.after
        order by r.seq limit 1
      ) is null
    ),
    leased as (
      insert into errand.lease (shard, task, lease_id, dispatcher, claim, epoch, queue, flow_key, rank,
        seq, step, attempt, due_at, started_at, expires_at)
      select shard, id, lease_id, ${dispatcher}, claim, epoch, queue, flow_key, rank, seq, 0, 1,
        scheduled_at, now(), expires_at
      from first
    ),
    rest as materialized (
      select * from fresh f where not exists (select from first x where x.ord = f.ord)
    ),
    ${insertTasks(sql, tasks, sql`fresh`, sql`rest`)}
    select f.*, x.lease_id from (${selectCreated(sql, sql`fresh`)}) f left join first x on x.ord = f.ord
    order by f.ord
  `;
  return rows.map((row, index) => ({
    result: created(row),
    lease: row.lease_id === null ? null : leasedTask(tasks[index]!, row, row.lease_id),
  }));
}

function leasedTask(task: NewTask, row: CreatedRow, leaseId: string): ClaimedTask {
  const { headers, body, sealed } = task;
  const stored = sealed?.body ?? body;
  const { taskId, scheduledAt, seq } = created(row) as Extract<Enqueued, { kind: 'created' }>;
  return {
    shard: task.shard,
    taskId,
    leaseId,
    queue: task.queue,
    step: 0,
    attempt: 1,
    rank: task.rank,
    seq: seq!,
    name: null,
    flowKey: task.flowKey,
    url: task.url,
    method: task.method,
    headers: sealed === null ? (headers ?? {}) : {},
    contentType: task.contentType,
    body: Buffer.from(stored.buffer, stored.byteOffset, stored.byteLength),
    seal: sealed && { dataKey: sealed.dataKey, headers: sealed.headers },
    retry: task.retry ?? {},
    dispatchDeadlineSeconds:
      task.dispatchDeadlineMs === null ? null : task.dispatchDeadlineMs / 1000,
    retentionSeconds: task.retentionSeconds,
    scheduledAt,
    secondsSinceFirstAttempt: 0,
    isExpired: false,
    previousStatus: null,
  };
}
