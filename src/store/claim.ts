import type { ClaimedTask } from '../model.ts';
import { array, columnsOf } from './array.ts';
import type { Sql } from './database.ts';
import { taskIdText } from './task-id.ts';

/** Which tasks of a queue may be claimed: `limit` of them, from these places in its order on. */
export interface QueueClaim {
  queue: number;
  /** The queue's version that the limit was computed from. */
  version: number;
  limit: number;
  /** Used where the task names none. */
  dispatchDeadlineSeconds: number;
  /** Ranks to look at, best first, each with the sequence number to look past. */
  cursors: readonly { rank: number; afterSeq: string }[];
}

export interface ClaimInput {
  pool: string;
  shard: number;
  dispatcher: number;
  epoch: string;
  /** Number of this claim within the dispatcher, to find what came of it when its answer is lost. */
  claim: number;
  /** A lease ends this long after the attempt's deadline. */
  leaseMarginSeconds: number;
  queues: readonly QueueClaim[];
}

/**
 * Moves the first tasks of many queues of one shard from `ready` to `lease`, in one statement, and
 * returns them with their payloads, in order of dispatch within each queue.
 *
 * Index: primary key of `ready` (shard, queue, rank, seq), one probe per (queue, rank), starting at the
 * cursor and so not on the dead rows of what was claimed before. Locks: `FOR SHARE` on the ownership
 * row, so that a take-over (which raises the epoch) waits for a claim that runs, and a claim that comes
 * after it finds its epoch gone and yields nothing; row locks on what it takes, skipping rows that a
 * cancel holds. A queue that changed (version), is paused or being purged yields nothing. The delete
 * goes by key: joined on ctid it fell to a fifth once dead rows had gathered.
 */
export async function claimTasks(sql: Sql, input: ClaimInput): Promise<ClaimedTask[]> {
  const { shard } = input;
  const column = columnsOf(sql, input.queues);
  const rows = await sql<ClaimedRow[]>`
    with fence as materialized (
      select epoch from errand.ownership
      where pool = ${input.pool} and shard = ${shard}
        and dispatcher = ${input.dispatcher} and epoch = ${input.epoch}
      for share
    ),
    pick as materialized (
      select w.queue, p.rank, p.seq, w.deadline
      from fence
      cross join unnest(
        ${column('integer', (q) => q.queue)}, ${column('bigint', (q) => q.version)},
        ${column('integer', (q) => q.limit)}, ${column('float', (q) => q.dispatchDeadlineSeconds)},
        ${column('text', (q) => arrayText(q.cursors.map((c) => c.rank)))},
        ${column('text', (q) => arrayText(q.cursors.map((c) => c.afterSeq)))}
      ) as w(queue, version, lim, deadline, ranks, afters)
      join errand.queue q
        on q.id = w.queue and q.version = w.version and q.paused_at is null and not q.is_purging
      cross join lateral (
        select r.rank, r.seq
        from unnest(w.ranks::smallint[], w.afters::bigint[]) as k(rank, after)
        cross join lateral (
          select r.rank, r.seq from errand.ready r
          where r.shard = ${shard} and r.queue = w.queue and r.rank = k.rank and r.seq > k.after
          order by r.seq limit w.lim
          for update skip locked
        ) r
        limit w.lim
      ) p
    ),
    taken as (
      delete from errand.ready r using pick p
      where r.shard = ${shard} and r.queue = p.queue and r.rank = p.rank and r.seq = p.seq
      returning r.*, p.deadline
    ),
    loaded as materialized (
      select t.url, t.method, t.headers, t.content_type, t.body, t.name, t.retry, t.expire_at,
        t.dispatch_deadline_ms, t.retention_seconds,
        k.task, k.queue, k.rank, k.seq, k.step, k.attempt + 1 as attempt, k.due_at,
        k.first_attempt_at, k.previous_status, gen_random_uuid() as lease_id,
        now() + make_interval(secs => coalesce(t.dispatch_deadline_ms / 1000.0, k.deadline)
          + ${input.leaseMarginSeconds}::double precision) as expires_at
      from taken k join errand.task t on t.shard = ${shard} and t.id = k.task and t.step = k.step
    ),
    leased as (
      insert into errand.lease (
        shard, task, lease_id, dispatcher, claim, queue, rank, seq, step, attempt, due_at,
        first_attempt_at, previous_status, started_at, expires_at)
      select ${shard}, task, lease_id, ${input.dispatcher}, ${input.claim}, queue, rank, seq, step,
        attempt, due_at, first_attempt_at, previous_status, now(), expires_at
      from loaded
    )
    select ${claimedColumns(sql)} from loaded l order by l.queue, l.rank, l.seq
  `;
  return rows.map((row) => claimedTask(shard, row));
}

/**
 * Leases as tasks in hand again: those of one claim whose answer was lost (to give them back), or those
 * past their end or of a dispatcher that is gone (to settle them as lost). Reads the leases of the
 * shards, which are as many as there are calls in flight; locks nothing: what is done with them is
 * fenced by lease id.
 */
export async function findLeases(
  sql: Sql,
  which: { shards: readonly number[]; limit: number } & (
    | { dispatcher: number; claim: number }
    | { of: 'lost' }
  ),
): Promise<ClaimedTask[]> {
  const condition =
    'claim' in which
      ? sql`l.dispatcher = ${which.dispatcher} and l.claim = ${which.claim}`
      : sql`(l.expires_at < now()
          or not exists (select from errand.dispatcher d where d.id = l.dispatcher))`;
  const rows = await sql<(ClaimedRow & { shard: number })[]>`
    select l.shard, ${claimedColumns(sql)}
    from (
      select l.*, t.url, t.method, t.headers, t.content_type, t.body, t.name, t.retry, t.expire_at,
        t.dispatch_deadline_ms, t.retention_seconds
      from errand.lease l join errand.task t on t.shard = l.shard and t.id = l.task and t.step = l.step
      where l.shard = any(${array(sql, 'smallint', which.shards)}) and ${condition}
      limit ${which.limit}
    ) l
  `;
  return rows.map((row) => claimedTask(row.shard, row));
}

interface ClaimedRow {
  task: string;
  lease_id: string;
  queue: number;
  step: number;
  attempt: number;
  rank: number;
  seq: string;
  name: string | null;
  url: string;
  method: string;
  headers: Record<string, string> | null;
  content_type: string | null;
  body: Buffer;
  retry: ClaimedTask['retry'] | null;
  dispatch_deadline_ms: number | null;
  retention_seconds: number | null;
  due_at: Date;
  since_first: number;
  is_expired: boolean;
  previous_status: number | null;
}

function claimedColumns(sql: Sql) {
  return sql`
    l.task, l.lease_id, l.queue, l.step, l.attempt, l.rank, l.seq, l.name, l.url, l.method, l.headers,
    l.content_type, l.body, l.retry, l.dispatch_deadline_ms, l.retention_seconds, l.due_at,
    l.previous_status, coalesce(l.expire_at < now(), false) as is_expired,
    coalesce(extract(epoch from now() - l.first_attempt_at), 0)::double precision as since_first`;
}

function claimedTask(shard: number, row: ClaimedRow): ClaimedTask {
  return {
    shard,
    taskId: taskIdText(row.task),
    leaseId: row.lease_id,
    queue: row.queue,
    step: row.step,
    attempt: row.attempt,
    rank: row.rank,
    seq: row.seq,
    name: row.name,
    url: row.url,
    method: row.method,
    headers: row.headers ?? {},
    contentType: row.content_type,
    body: row.body,
    retry: row.retry ?? {},
    dispatchDeadlineSeconds:
      row.dispatch_deadline_ms === null ? null : row.dispatch_deadline_ms / 1000,
    retentionSeconds: row.retention_seconds,
    scheduledAt: row.due_at,
    secondsSinceFirstAttempt: row.since_first,
    isExpired: row.is_expired,
    previousStatus: row.previous_status,
  };
}

/** An array inside an array of arrays of different lengths can only travel as text. */
function arrayText(values: readonly (number | string)[]): string {
  return `{${values.join(',')}}`;
}
