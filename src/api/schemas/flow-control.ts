import { z } from '@hono/zod-openapi';
import { DEFAULT_FLOW_LIMITS, DEFAULT_QUEUE_SETTINGS } from '../../model.ts';
import { POOL_NAME_PATTERN } from '../../protocol/limits.ts';
import {
  type ActiveWindow,
  type CircuitBreakerSettings,
  type FlowLimits,
  type QueueSettings,
  WEEKDAYS,
} from '../../protocol/resources.ts';
import { windowErrors } from '../../policy/windows.ts';
import { addWindowErrors, calendarNameSchema, weekdaySchema } from './calendar.ts';
import { integer, objectError, rate, seconds } from './common.ts';

const MAX_WINDOWS = 100;
const MAX_COUNT = 1_000_000;
const SHARE = 'a number above 0 up to 1';
const breaker = DEFAULT_QUEUE_SETTINGS.circuitBreaker!;

const flowShape = {
  maxDispatchesPerSecond: rate().nullable().openapi({
    description: 'For each key; null = no limit. Fractions are allowed. Default null.',
  }),
  maxBurstSize: integer(1, MAX_COUNT).openapi({
    description: `For each key. Default ${DEFAULT_FLOW_LIMITS.maxBurstSize}.`,
  }),
  maxConcurrentDispatches: integer(1, MAX_COUNT)
    .nullable()
    .openapi({ description: 'For each key, attempts in flight; null = no limit. Default null.' }),
  ordered: z.boolean({ error: 'true or false' }).openapi({
    description:
      'One at a time and in order; a task that waits for its retry holds its key. Default false.',
  }),
} satisfies Record<keyof FlowLimits, z.ZodType>;

const circuitBreakerShape = {
  minCalls: integer(1, MAX_COUNT).openapi({
    description: `Calls to an origin within a minute before it is judged. Default ${breaker.minCalls}.`,
  }),
  failureShare: z
    .number({ error: SHARE })
    .positive({ error: SHARE })
    .max(1, { error: SHARE })
    .openapi({
      description: `Share of them that failed at which it opens. Default ${breaker.failureShare}.`,
    }),
  openSeconds: seconds(1, 86_400).openapi({
    description: `Time until a probe is let through. Default ${breaker.openSeconds}.`,
  }),
} satisfies Record<keyof CircuitBreakerSettings, z.ZodType>;

const windowSchema = z
  .strictObject(
    {
      days: z.array(weekdaySchema, { error: 'an array of days' }).max(WEEKDAYS.length),
      start: z
        .string({ error: 'HH:MM from 00:00 to 23:59' })
        .openapi({ description: '`HH:MM`, local.', example: '22:00' }),
      end: z.string({ error: 'HH:MM from 00:00 to 24:00' }).openapi({
        description: '`HH:MM`, local, up to `24:00`; at or before `start` = on the next day.',
        example: '06:00',
      }),
      timeZone: z
        .string({ error: 'an IANA time zone' })
        .openapi({ description: 'IANA name.', example: 'Europe/Berlin' }),
    } satisfies Record<keyof ActiveWindow, z.ZodType>,
    { error: objectError },
  )
  .superRefine((window, context) => addWindowErrors(windowErrors(window), context))
  .openapi('ActiveWindow');

/** The settings that come alike in and out. */
export const sharingShape = {
  weight: z
    .number({ error: 'a number above 0, at most 1000' })
    .positive({ error: 'a number above 0, at most 1000' })
    .max(1000, { error: 'a number above 0, at most 1000' })
    .openapi({
      description:
        'Share of a dispatcher’s slots against its other queues; with the strategy `strict-priority`, the higher goes first. Default 1.',
    }),
  pool: z
    .string({ error: 'a pool name' })
    .regex(POOL_NAME_PATTERN, { error: '1 to 63 of a-z 0-9 -, not starting with -' })
    .openapi({ description: 'The dispatchers that serve it. Default "default".' }),
  maxBacklog: integer(1, MAX_COUNT).nullable().openapi({
    description:
      'Waiting tasks (ready, scheduled, or held by their flow key) at which enqueueing answers 429 `queue-full`. Each process counts anew at most once a second and adds what it enqueued since, so that it may be passed by a second of the other processes’ enqueues. Retries are not refused. null = no limit. Default null.',
  }),
  activeWindows: z.array(windowSchema, { error: 'an array of windows' }).max(MAX_WINDOWS).openapi({
    description:
      'Tasks are dispatched only while one of these is open; empty = always. PATCH replaces them as a whole. Default empty.',
  }),
  businessDaysOnly: calendarNameSchema.nullable().openapi({
    description:
      'Name of a calendar of this project: tasks are dispatched on its business days only. Default null.',
  }),
} satisfies Partial<Record<keyof QueueSettings, z.ZodType>>;

/** As they are given: what is left out of an object is its default. */
export const limitsInputShape = {
  flow: z
    .strictObject(flowShape, { error: objectError })
    .partial()
    .nullable()
    .openapi('FlowLimitsInput', {
      description:
        'Limits for each `flowKey` by itself, at least one of them or `ordered`; null = flow keys mean nothing here. Default null.',
    }),
  circuitBreaker: z
    .strictObject(circuitBreakerShape, { error: objectError })
    .partial()
    .nullable()
    .openapi('CircuitBreakerInput', {
      description: 'Holds calls to an origin that keeps failing; null = never.',
    }),
} satisfies Partial<Record<keyof QueueSettings, z.ZodType>>;

/** As they are in force. */
export const limitsShape = {
  flow: z.object(flowShape).nullable().openapi('FlowLimits'),
  circuitBreaker: z.object(circuitBreakerShape).nullable().openapi('CircuitBreaker'),
} satisfies Partial<Record<keyof QueueSettings, z.ZodType>>;
