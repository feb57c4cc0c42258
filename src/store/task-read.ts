/**
 * A task's state is the room its row lies in. This file is the one way to look: every verb on single
 * tasks reads the rooms, the cold row at that room's step and the queue in its own one statement, so a
 * row on its way from one room to the next is seen in exactly one of them.
 */
import type { PendingQuery, Row } from 'postgres';
import type { RetryPolicy, Seal } from '../model.ts';
import type { TaskState } from '../protocol/resources.ts';
import { headersOf, type StoredHeaders, sealOf } from './content-seal.ts';
import type { Sql } from './database.ts';
import { shardOf, taskIdText } from './task-id.ts';

/** A task as a caller names it: an id of another project is not found. */
export interface TaskRef {
  project: string;
  /** 32 hex digits. */
  taskId: string;
}

/** A task with where it is in its life. */
export interface TaskRecord {
  id: string;
  queueId: number;
  queue: string;
  name: string | null;
  state: TaskState;
  url: string;
  method: string;
  /** Empty while it is sealed. */
  headers: Record<string, string>;
  contentType: string | null;
  /** Null unless it was asked for; ciphertext while it is sealed. */
  body: Uint8Array | null;
  /** Null: headers and body are as they came. */
  seal: Seal | null;
  /** −priority. */
  rank: number;
  flowKey: string | null;
  retry: Partial<RetryPolicy>;
  dispatchDeadlineSeconds: number | null;
  retentionSeconds: number | null;
  owner: string | null;
  labels: Record<string, string>;
  step: number;
  attempts: number;
  progress: number | null;
  createdAt: Date;
  scheduledAt: Date;
  expireAt: Date | null;
  startedAt: Date | null;
  finishedAt: Date | null;
  lastStatus: number | null;
  reason: string | null;
}

/** What `selectTask` and `selectTasks` yield. */
export interface TaskRow {
  id: string;
  queue_id: number;
  queue: string;
  name: string | null;
  state: TaskState;
  url: string;
  method: string;
  headers: StoredHeaders;
  content_type: string | null;
  body: Uint8Array | null;
  data_key: number | null;
  rank: number;
  flow_key: string | null;
  retry: Partial<RetryPolicy> | null;
  dispatch_deadline_ms: number | null;
  retention_seconds: number | null;
  owner: string | null;
  labels: Record<string, string> | null;
  step: number;
  attempt: number;
  progress: number | null;
  created_at: Date;
  scheduled_at: Date;
  /** When the step was first due, whatever retries made of it since. */
  first_scheduled_at: Date;
  expire_at: Date | null;
  started_at: Date | null;
  finished_at: Date | null;
  last_status: number | null;
  reason: string | null;
}

/** A part of a statement. */
export type Fragment = PendingQuery<Row[]>;

/**
 * Reads one task, or null when it is not there for this project: unknown, removed, purged with its
 * queue, or past its retention. `isPastRetentionShown` finds the last of these too, while its rows lie
 * there. By the (shard, task) key of each room; locks nothing.
 */
export async function readTask(
  sql: Sql,
  ref: TaskRef,
  options: { withPayload?: boolean; isPastRetentionShown?: boolean } = {},
): Promise<TaskRecord | null> {
  const rows = await sql<TaskRow[]>`${selectTask(sql, ref, options)}`;
  return rows[0] ? taskRecord(rows[0]) : null;
}

/** The task as its room has it at this moment: at most one row, shaped as TaskRow. */
export function selectTask(
  sql: Sql,
  { project, taskId }: TaskRef,
  options: { withPayload?: boolean; isPastRetentionShown?: boolean } = {},
): Fragment {
  const at = { shard: sql`${shardOf(taskId)}::smallint`, task: sql`${taskId}::uuid` };
  const body = options.withPayload ? sql`t.body` : sql`null::bytea`;
  return sql`
    select ${taskColumns(sql)}, ${body} as body
    from (${rooms(sql, at, options.isPastRetentionShown)}) r
    join errand.queue q on q.id = r.queue and q.project = ${project} and ${isSeen(sql, at.task)}
    join errand.task t on t.shard = ${at.shard} and t.id = ${at.task} and t.step = r.step`;
}

/** Every room as rows of one shape. What is past its retention is gone, whenever it is deleted. */
export function rooms(
  sql: Sql,
  at: { shard: Fragment; task: Fragment },
  isPastRetentionShown = false,
): Fragment {
  const waiting = sql`
    queue, step, attempt, due_at, first_attempt_at as started_at, null::timestamptz as finished_at,
    previous_status as last_status, null::text as reason, null::real as progress`;
  const retained = isPastRetentionShown ? sql`` : sql`and retained_until > now()`;
  return sql`
    select 'ready' as state, ${waiting}
    from errand.ready where shard = ${at.shard} and task = ${at.task}
    union all
    select 'ready', ${waiting}
    from errand.parked where shard = ${at.shard} and task = ${at.task}
    union all
    select 'scheduled', ${waiting}
    from errand.scheduled where shard = ${at.shard} and task = ${at.task}
    union all
    select 'leased', queue, step, attempt, due_at, coalesce(first_attempt_at, started_at), null,
      previous_status, null, null
    from errand.lease where shard = ${at.shard} and task = ${at.task}
    union all
    select state::text, queue, step, attempt, null, started_at, finished_at, last_status, reason, progress
    from errand.finished where shard = ${at.shard} and task = ${at.task} ${retained}`;
}

/** The columns of a task `t` whose room's row is `r` and whose queue is `q`. */
export function taskColumns(sql: Sql): Fragment {
  return sql`
    t.id, q.id as queue_id, q.name as queue, t.name, r.state, t.url, t.method, t.headers,
    t.content_type, t.data_key, t.rank, t.flow_key, t.retry, t.dispatch_deadline_ms, t.retention_seconds, t.owner,
    t.labels, r.step, r.attempt, coalesce(r.progress, t.progress) as progress, t.created_at,
    coalesce(r.due_at, t.scheduled_at) as scheduled_at, t.scheduled_at as first_scheduled_at, t.expire_at, r.started_at, r.finished_at,
    r.last_status, r.reason`;
}

/** False for what a purge has passed (its rows are deleted in time) and for what a deleted queue had. */
export function isSeen(sql: Sql, task: Fragment): Fragment {
  return sql`q.deleted_at is null
    and not (r.state in ('ready', 'scheduled') and coalesce(${task} < q.purged_before, false))`;
}

export function taskRecord(row: TaskRow): TaskRecord {
  const deadlineMs = row.dispatch_deadline_ms;
  return {
    id: taskIdText(row.id),
    queueId: row.queue_id,
    queue: row.queue,
    name: row.name,
    state: row.state,
    url: row.url,
    method: row.method,
    headers: headersOf(row),
    contentType: row.content_type,
    body: row.body,
    seal: sealOf(row),
    rank: row.rank,
    flowKey: row.flow_key,
    retry: row.retry ?? {},
    dispatchDeadlineSeconds: deadlineMs === null ? null : deadlineMs / 1000,
    retentionSeconds: row.retention_seconds,
    owner: row.owner,
    labels: row.labels ?? {},
    step: row.step,
    attempts: row.attempt,
    progress: row.progress,
    createdAt: row.created_at,
    scheduledAt: row.scheduled_at,
    expireAt: row.expire_at,
    startedAt: row.started_at,
    finishedAt: row.finished_at,
    lastStatus: row.last_status,
    reason: row.reason,
  };
}
