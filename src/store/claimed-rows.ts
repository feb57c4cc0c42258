import type { ClaimedTask } from '../model.ts';
import { columnsOf } from './array.ts';
import { headersOf, type StoredHeaders, sealOf } from './content-seal.ts';
import type { Sql } from './database.ts';
import { taskIdText } from './task-id.ts';

/** Who claims from which shard, by which right. */
export interface Claimant {
  pool: string;
  shard: number;
  dispatcher: number;
  epoch: string;
  /** Number of this claim within the dispatcher, to find what came of it when its answer is lost. */
  claim: number;
  /** A lease ends this long after the attempt's deadline. */
  leaseMarginSeconds: number;
}

export interface ClaimedRow {
  task: string;
  lease_id: string;
  queue: number;
  step: number;
  attempt: number;
  rank: number;
  seq: string;
  name: string | null;
  flow_key: string | null;
  url: string;
  method: string;
  headers: StoredHeaders;
  content_type: string | null;
  body: Buffer;
  data_key: number | null;
  retry: ClaimedTask['retry'] | null;
  dispatch_deadline_ms: number | null;
  retention_seconds: number | null;
  due_at: Date;
  since_first: number;
  is_expired: boolean;
  previous_status: number | null;
}

export function claimedColumns(sql: Sql) {
  return sql`
    l.task, l.lease_id, l.flow_key, l.queue, l.step, l.attempt, l.rank, l.seq, l.name, l.url, l.method, l.headers,
    l.content_type, l.body, l.data_key, l.retry, l.dispatch_deadline_ms, l.retention_seconds, l.due_at,
    l.previous_status, coalesce(l.expire_at < now(), false) as is_expired,
    coalesce(extract(epoch from now() - l.first_attempt_at), 0)::double precision as since_first`;
}

export function claimedTask(shard: number, row: ClaimedRow): ClaimedTask {
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
    flowKey: row.flow_key,
    url: row.url,
    method: row.method,
    headers: headersOf(row),
    contentType: row.content_type,
    body: row.body,
    seal: sealOf(row),
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

/** `fence`: one row while the claimant owns the shard, held `FOR SHARE` so that a take-over waits. */
export function ownershipFence(sql: Sql, { pool, shard, dispatcher, epoch }: Claimant) {
  return sql`
    fence as materialized (
      select epoch from errand.ownership
      where pool = ${pool} and shard = ${shard} and dispatcher = ${dispatcher} and epoch = ${epoch}
      for share
    )`;
}

/**
 * What `taken` has deleted from its room is leased, and `loaded` has it with its payload. Each task is
 * looked up by itself (the limit keeps the planner from joining the other way round).
 */
export function leaseTaken(
  sql: Sql,
  input: Claimant,
  queues: readonly { queue: number; dispatchDeadlineSeconds: number }[],
) {
  const { shard } = input;
  const column = columnsOf(sql, queues);
  const deadline = sql`(${column('float', (q) => q.dispatchDeadlineSeconds)})[
    array_position(${column('integer', (q) => q.queue)}, k.queue)]`;
  return sql`
    loaded as materialized (
      select t.url, t.method, t.headers, t.content_type, t.body, t.data_key, t.name, t.flow_key, t.retry,
        t.expire_at, t.dispatch_deadline_ms, t.retention_seconds,
        k.task, k.queue, t.rank, k.seq, k.step, k.attempt + 1 as attempt, k.due_at,
        k.first_attempt_at, k.previous_status, gen_random_uuid() as lease_id,
        now() + make_interval(secs => coalesce(t.dispatch_deadline_ms / 1000.0, ${deadline})
          + ${input.leaseMarginSeconds}::double precision) as expires_at
      from taken k
      cross join lateral (
        select t.* from errand.task t
        where t.shard = ${shard} and t.id = k.task and t.step = k.step limit 1
      ) t
    ),
    leased as (
      insert into errand.lease (
        shard, task, lease_id, dispatcher, claim, epoch, queue, flow_key, rank, seq, step, attempt,
        due_at, first_attempt_at, previous_status, started_at, expires_at)
      select ${shard}, task, lease_id, ${input.dispatcher}, ${input.claim}, ${input.epoch}, queue,
        flow_key, rank, seq, step, attempt, due_at, first_attempt_at, previous_status, now(),
        expires_at
      from loaded
    )`;
}
