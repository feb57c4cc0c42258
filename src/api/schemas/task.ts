import { z } from '@hono/zod-openapi';
import { TASK_ID_PATTERN } from '../../protocol/limits.ts';
import { type Attempt, TASK_STATES, type Task } from '../../protocol/resources.ts';
import { queueNameSchema, retrySchema } from './common.ts';

const time = () => z.iso.datetime();
const seconds = () => z.number();

const TASK_EXAMPLE: Task = {
  id: '0198c0de000070008000000000000001',
  queue: 'emails',
  name: null,
  state: 'ready',
  url: 'https://worker.example/tasks/email',
  method: 'POST',
  headers: {},
  contentType: 'application/json',
  priority: 0,
  flowKey: null,
  retry: {},
  dispatchDeadlineSeconds: null,
  retentionSeconds: null,
  owner: null,
  labels: {},
  step: 0,
  attempts: 0,
  progress: null,
  createdAt: '2026-01-02T03:04:05.678Z',
  scheduledAt: '2026-01-02T03:04:05.678Z',
  expireTime: null,
  startedAt: null,
  finishedAt: null,
  lastStatus: null,
  reason: null,
};

export const taskSchema = z
  .object({
    id: z.string().regex(TASK_ID_PATTERN).openapi({ description: 'Opaque; never changes.' }),
    queue: queueNameSchema,
    name: z.string().nullable(),
    state: z.enum(TASK_STATES),
    url: z.string(),
    method: z.string(),
    headers: z.record(z.string(), z.string()),
    contentType: z.string().nullable(),
    payload: z
      .string()
      .optional()
      .openapi({ description: 'With `view=full`, when the bytes are UTF-8.' }),
    payloadBase64: z
      .string()
      .optional()
      .openapi({ description: 'With `view=full`, when the bytes are not UTF-8.' }),
    priority: z.int(),
    flowKey: z.string().nullable(),
    retry: retrySchema,
    dispatchDeadlineSeconds: seconds().nullable(),
    retentionSeconds: seconds().nullable(),
    owner: z.string().nullable(),
    labels: z.record(z.string(), z.string()),
    step: z.int().openapi({ description: 'Number of the current step of a continuation, from 0.' }),
    attempts: z.int().openapi({
      description: 'Attempts dispatched so far in the current step, the one in flight included.',
    }),
    progress: z.number().nullable().openapi({ description: '0 to 100, as the worker last told.' }),
    createdAt: time(),
    scheduledAt: time().openapi({
      description: 'When it is due; of an ended task, when it first was.',
    }),
    expireTime: time().nullable(),
    startedAt: time().nullable().openapi({ description: 'First dispatch of the current step.' }),
    finishedAt: time().nullable(),
    lastStatus: z.int().nullable().openapi({ description: 'HTTP status of the latest answer.' }),
    reason: z.string().nullable().openapi({ description: 'Why it failed or was cancelled.' }),
  } satisfies Record<keyof Task, z.ZodType>)
  .openapi('Task', { example: TASK_EXAMPLE });

export const attemptSchema = z
  .object({
    id: z.string(),
    step: z.int(),
    attempt: z.int().openapi({ description: 'From 1, within the step.' }),
    outcome: z
      .enum(['responded', 'timed_out', 'unreachable', 'blocked', 'lost'])
      .openapi({ description: 'What happened.' }),
    settlement: z
      .enum(['succeed', 'retry', 'continue', 'fail', 'cancel'])
      .openapi({ description: 'What was decided from it.' }),
    status: z.int().nullable(),
    error: z.string().nullable(),
    startedAt: time(),
    finishedAt: time(),
    durationSeconds: seconds(),
    nextAttemptAt: time()
      .nullable()
      .openapi({ description: 'Set when the settlement is a retry.' }),
  } satisfies Record<keyof Attempt, z.ZodType>)
  .openapi('Attempt', { description: 'One dispatch of a task.' });

/** A malformed id is merely not found. */
export const taskParams = z.object({
  taskId: z
    .string()
    .regex(TASK_ID_PATTERN)
    .openapi({ param: { name: 'taskId', in: 'path' }, example: TASK_EXAMPLE.id }),
});
