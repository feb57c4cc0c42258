import type { ClaimedTask, QueueRecord, RetryPolicy } from '../model.ts';
import { HEADER } from '../protocol/headers.ts';

/**
 * The headers of a dispatched request: the task's own, then ours, which a task can't set. The token is
 * always in `Errand-Authorization`, and in `Authorization` too unless the task brings its own. `webhook`:
 * the Standard Webhooks signatures, which stand in the place of what the task may have of their names.
 */
export function requestHeaders(
  task: ClaimedTask,
  queue: QueueRecord,
  retry: RetryPolicy,
  token: string,
  webhook: Record<string, string> = {},
): Record<string, string> {
  const headers = without(task.headers, Object.keys(webhook));
  const bearer = `Bearer ${token}`;
  if (!hasHeader(headers, 'authorization')) headers.authorization = bearer;
  if (task.contentType !== null && !hasHeader(headers, 'content-type')) {
    headers['content-type'] = task.contentType;
  }
  headers[HEADER.authorization] = bearer;
  headers[HEADER.taskId] = task.taskId;
  if (task.name !== null) headers[HEADER.taskName] = task.name;
  headers[HEADER.queue] = queue.name;
  headers[HEADER.attempt] = String(task.attempt);
  headers[HEADER.maxAttempts] = retry.maxAttempts === -1 ? 'unlimited' : String(retry.maxAttempts);
  headers[HEADER.scheduleTime] = task.scheduledAt.toISOString();
  headers[HEADER.step] = String(task.step);
  if (task.previousStatus !== null) headers[HEADER.previousStatus] = String(task.previousStatus);
  headers.traceparent = traceparent(task);
  return Object.assign(headers, webhook);
}

function without(headers: Record<string, string>, names: string[]): Record<string, string> {
  if (names.length === 0) return { ...headers };
  const kept = Object.entries(headers).filter(([name]) => !names.includes(name.toLowerCase()));
  return Object.fromEntries(kept);
}

/**
 * W3C Trace Context: one trace a task, so all its attempts lie together; one span an attempt, from the
 * random digits of its lease id.
 */
function traceparent({ taskId, leaseId }: ClaimedTask): string {
  return `00-${taskId}-${leaseId.slice(-12)}${leaseId.slice(0, 4)}-01`;
}

function hasHeader(headers: Record<string, string>, name: string): boolean {
  return Object.keys(headers).some((key) => key.toLowerCase() === name);
}
