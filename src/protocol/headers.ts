/**
 * The wire contract, shared by the service, the client and the handler kit: nothing in this folder
 * imports from another room, so each side can be published on its own.
 */

/** Headers of a dispatched request (service → worker) and of its answer (worker → service). */
export const HEADER = {
  authorization: 'errand-authorization',
  taskId: 'errand-task-id',
  taskName: 'errand-task-name',
  queue: 'errand-queue',
  attempt: 'errand-attempt',
  maxAttempts: 'errand-max-attempts',
  scheduleTime: 'errand-schedule-time',
  step: 'errand-step',
  previousStatus: 'errand-previous-status',
  outcome: 'errand-outcome',
  progress: 'errand-progress',
  project: 'errand-project',
  idempotencyKey: 'idempotency-key',
} as const;

/** What a worker may put in `Errand-Outcome`; `accepted` is reserved, any other value is a retry. */
export type AnswerOutcome = 'failed' | 'continue';

/**
 * Header names a task or queue may not set: they belong to HTTP's own framing, to the connection, or
 * to Errand. Source: Cloud Tasks' list, plus those undici refuses (they would poison the task).
 */
const RESERVED_HEADERS = new Set([
  'host',
  'content-length',
  'connection',
  'keep-alive',
  'transfer-encoding',
  'te',
  'trailer',
  'upgrade',
  'expect',
  'http2-settings',
  'traceparent',
]);
const RESERVED_PREFIXES = ['errand-', 'proxy-'];

/** True when `name` (any case) may not be set by a task or a queue. */
export function isReservedHeader(name: string): boolean {
  const lower = name.toLowerCase();
  return RESERVED_HEADERS.has(lower) || RESERVED_PREFIXES.some((p) => lower.startsWith(p));
}
