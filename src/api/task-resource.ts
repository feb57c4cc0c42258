import type { Attempt, Task } from '../protocol/resources.ts';
import type { Enqueued, NewTask } from '../store/enqueue.ts';
import type { AttemptRecord } from '../store/task-attempts.ts';
import type { TaskRecord } from '../store/task-read.ts';

export type CreatedTask = Extract<Enqueued, { kind: 'created' }>;

/** A task whose content is as it came. */
export type OpenRecord = TaskRecord & { seal: null };

/** A task as users see it; with its payload where that was read. */
export function taskResource(task: OpenRecord): Task {
  return {
    id: task.id,
    queue: task.queue,
    name: task.name,
    state: task.state,
    url: task.url,
    method: task.method,
    headers: task.headers,
    contentType: task.contentType,
    ...(task.body && payloadOf(task.body)),
    priority: 0 - task.rank,
    flowKey: task.flowKey,
    retry: task.retry,
    dispatchDeadlineSeconds: task.dispatchDeadlineSeconds,
    retentionSeconds: task.retentionSeconds,
    owner: task.owner,
    labels: task.labels,
    step: task.step,
    attempts: task.attempts,
    progress: task.progress,
    createdAt: task.createdAt.toISOString(),
    scheduledAt: task.scheduledAt.toISOString(),
    expireTime: task.expireAt?.toISOString() ?? null,
    startedAt: task.startedAt?.toISOString() ?? null,
    finishedAt: task.finishedAt?.toISOString() ?? null,
    lastStatus: task.lastStatus,
    reason: task.reason,
  };
}

/** The task that was just created, as a read at that moment would have shown it. */
export function createdResource(queue: string, task: NewTask, created: CreatedTask): Task {
  const deadlineMs = task.dispatchDeadlineMs;
  return taskResource({
    id: created.taskId,
    queueId: task.queue,
    queue,
    name: task.name,
    state: created.seq === null ? 'scheduled' : 'ready',
    url: task.url,
    method: task.method,
    headers: task.headers ?? {},
    contentType: task.contentType,
    body: null,
    seal: null,
    rank: task.rank,
    flowKey: task.flowKey,
    retry: task.retry ?? {},
    dispatchDeadlineSeconds: deadlineMs === null ? null : deadlineMs / 1000,
    retentionSeconds: task.retentionSeconds,
    owner: task.owner,
    labels: task.labels ?? {},
    step: 0,
    attempts: 0,
    progress: null,
    createdAt: created.createdAt,
    scheduledAt: created.scheduledAt,
    expireAt: task.expireAt,
    startedAt: null,
    finishedAt: null,
    lastStatus: null,
    reason: null,
  });
}

export function attemptResource(attempt: AttemptRecord): Attempt {
  return {
    id: attempt.leaseId,
    step: attempt.step,
    attempt: attempt.attempt,
    outcome: attempt.outcome,
    settlement: attempt.settlement,
    status: attempt.status,
    error: attempt.error,
    startedAt: attempt.startedAt.toISOString(),
    finishedAt: attempt.finishedAt.toISOString(),
    durationSeconds: attempt.durationMs / 1000,
    nextAttemptAt: attempt.retryAt?.toISOString() ?? null,
  };
}

function payloadOf(body: Uint8Array): Pick<Task, 'payload' | 'payloadBase64'> {
  try {
    return { payload: new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(body) };
  } catch {
    return { payloadBase64: Buffer.from(body).toString('base64') }; // No UTF-8, so no text.
  }
}
