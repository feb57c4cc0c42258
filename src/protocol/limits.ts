/** Sizes and patterns of the wire contract. Bytes are decoded bytes unless the name says otherwise. */
export const LIMIT = {
  payloadBytes: 1024 * 1024,
  requestBytes: 2 * 1024 * 1024,
  batchRequestBytes: 8 * 1024 * 1024,
  batchItems: 1000,
  urlCharacters: 2083,
  headers: 64,
  headersBytes: 16 * 1024,
  priority: { min: -1000, max: 1000 },
  dispatchDeadlineSeconds: { min: 1, max: 86_400 },
  /** How much of an ordinary answer is kept as the task's output. */
  outputBytes: 64 * 1024,
  /** A continuation's answer is read whole up to this size, and is a retry beyond it. */
  continuationBytes: 1.5 * 1024 * 1024,
  labels: 64,
} as const;

export const TASK_NAME_PATTERN = /^[A-Za-z0-9_-]{1,500}$/;
export const QUEUE_NAME_PATTERN = /^[A-Za-z0-9_-]{1,100}$/;
export const PROJECT_NAME_PATTERN = /^[a-z0-9][a-z0-9-]{0,62}$/;
export const POOL_NAME_PATTERN = PROJECT_NAME_PATTERN;
export const CALENDAR_NAME_PATTERN = QUEUE_NAME_PATTERN;
/** A task id: 32 lower-case hex digits (a UUIDv7 without its dashes). Opaque to users. */
export const TASK_ID_PATTERN = /^[0-9a-f]{32}$/;
