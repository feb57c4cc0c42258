import { z } from '@hono/zod-openapi';
import { DEFAULT_QUEUE_SETTINGS } from '../../model.ts';
import { LIMIT } from '../../protocol/limits.ts';
import type {
  Queue,
  QueueSettings,
  QueueStats,
  QueueStatus,
  RateLimits,
} from '../../protocol/resources.ts';
import type { PartialQueueSettings } from '../../store/queue.ts';
import {
  headersSchema,
  integer,
  MAX_RATE,
  objectError,
  queueNameSchema,
  rate,
  retrySchema,
  retryShape,
  seconds,
  text,
} from './common.ts';
import { limitsInputShape, limitsShape, sharingShape } from './flow-control.ts';
import { targetUrlError } from './target-url.ts';

const defaults = DEFAULT_QUEUE_SETTINGS;
const limits = defaults.rateLimits;

const rateLimitsShape = {
  maxDispatchesPerSecond: rate().openapi({
    description: `Fractions are allowed. Default ${limits.maxDispatchesPerSecond}.`,
  }),
  maxBurstSize: integer(1, MAX_RATE).openapi({
    description: `Default ${limits.maxBurstSize}.`,
  }),
  maxConcurrentDispatches: integer(1, MAX_RATE).openapi({
    description: `Attempts in flight. Default ${limits.maxConcurrentDispatches}.`,
  }),
} satisfies Record<keyof RateLimits, z.ZodType>;

const targetShape = {
  baseUrl: text(1, LIMIT.urlCharacters)
    .superRefine((url, context) => {
      const expected = targetUrlError(url);
      if (expected) context.addIssue({ code: 'custom', message: expected });
    })
    .nullable()
    .openapi({
      description: 'What a task whose `url` is a path is relative to.',
      example: 'https://worker.example/tasks/',
    }),
  headers: headersSchema.openapi({
    description: 'Sent with every task. PATCH replaces them as a whole.',
  }),
} satisfies Record<keyof QueueSettings['target'], z.ZodType>;

const deadline = LIMIT.dispatchDeadlineSeconds;

const plainShape = {
  dispatchDeadlineSeconds: seconds(deadline.min, deadline.max).openapi({
    description: `How long one attempt may take. Default ${defaults.dispatchDeadlineSeconds}.`,
  }),
  successStatus: z
    .enum(['200', '2xx'], { error: '"200" or "2xx"' })
    .openapi({ description: 'Which statuses complete a task. Default "200".' }),
  audience: text(1, 500).nullable().openapi({
    description: '`aud` of the tokens; null = the origin of the target. Default null.',
  }),
  retentionSeconds: seconds().openapi({
    description: `How long an ended task can be read. Default ${defaults.retentionSeconds}.`,
  }),
  nameRetentionSeconds: seconds().openapi({
    description: `How long a name stays taken after its task ended. Default ${defaults.nameRetentionSeconds}.`,
  }),
  ...sharingShape,
};

/** Body of PUT and of PATCH alike: what is left out is the default in PUT, and stays in PATCH. */
export const queueSettingsSchema = z
  .strictObject(
    {
      ...plainShape,
      rateLimits: z
        .strictObject(rateLimitsShape, { error: objectError })
        .partial()
        .openapi('RateLimitsInput', {
          description:
            'A token bucket: it holds `maxBurstSize` and is filled at `maxDispatchesPerSecond` (fractions are allowed); at most `maxConcurrentDispatches` are in flight.',
          example: { maxDispatchesPerSecond: 10, maxBurstSize: 20, maxConcurrentDispatches: 50 },
        }),
      retry: retrySchema,
      ...limitsInputShape,
      target: z.strictObject(targetShape, { error: objectError }).partial(),
    } satisfies Record<keyof QueueSettings, z.ZodType>,
    { error: objectError },
  )
  .partial()
  .openapi('QueueSettings', {
    example: {
      rateLimits: { maxDispatchesPerSecond: 10 },
      retry: { maxAttempts: 10, maxBackoffSeconds: 600 },
      target: { baseUrl: 'https://worker.example/tasks/' },
    },
  });

const statsSchema = z
  .object({
    ready: z.int(),
    scheduled: z.int(),
    leased: z.int(),
    oldestReadyAt: z.iso.datetime().nullable(),
  } satisfies Record<keyof QueueStats, z.ZodType>)
  .openapi('QueueStats', {
    description: 'Counts stop at 10,000. `ready` includes what waits for its flow key.',
    example: { ready: 12, scheduled: 3, leased: 2, oldestReadyAt: '2026-01-02T03:04:05.678Z' },
  });

/** What a queue answers: every setting, as it is in force. */
export const queueSchema = z
  .object({
    name: queueNameSchema,
    paused: z.boolean(),
    createdAt: z.iso.datetime(),
    updatedAt: z.iso.datetime(),
    ...plainShape,
    rateLimits: z.object(rateLimitsShape).openapi('RateLimits'),
    retry: z.object(retryShape).openapi('RetryPolicy'),
    target: z.object(targetShape),
    ...limitsShape,
  } satisfies Record<keyof Queue, z.ZodType>)
  .openapi('Queue', {
    example: {
      name: 'emails',
      paused: false,
      createdAt: '2026-01-02T03:04:05.678Z',
      updatedAt: '2026-01-02T03:04:05.678Z',
      ...DEFAULT_QUEUE_SETTINGS,
    },
  });

const statusSchema = z
  .object({
    isServed: z.boolean().openapi({
      description: 'False when no live dispatcher serves the queue’s pool: nothing is dispatched.',
    }),
    closedUntil: z.iso.datetime().nullable().openapi({
      description: 'Outside its windows or business days: when it opens again.',
    }),
    openCircuits: z
      .array(z.object({ origin: z.string(), probeAt: z.iso.datetime() }))
      .openapi({ description: 'Origins that are held, each with the time of the next probe.' }),
    rateShare: z.number().openapi({
      description:
        'Share of its rate that the queue has while targets ask to be slowed down; 1 = all of it.',
    }),
  } satisfies Record<keyof QueueStatus, z.ZodType>)
  .openapi('QueueStatus', {
    example: { isServed: true, closedUntil: null, openCircuits: [], rateShare: 1 },
  });

export const queueInFullSchema = queueSchema
  .extend({ stats: statsSchema, status: statusSchema })
  .openapi('QueueInFull');

/** The schemas and the wire contract's types say the same: what differs does not compile. */
export type QueueSchemasAgree = [
  Same<z.output<typeof queueSchema>, Queue>,
  Same<z.output<typeof statusSchema>, QueueStatus>,
  Same<z.output<typeof queueSettingsSchema>, PartialQueueSettings>,
];
type Same<A extends B, B> = [B] extends [A] ? A : never;
