import { z } from '@hono/zod-openapi';
import {
  type ApiKeyInfo,
  type CreateApiKey,
  DEFAULT_KEY_SCOPES,
  KEY_LIMIT,
  KEY_SCOPES,
  type Project,
  type ProjectQuotas,
  QUEUE_PATTERN,
  type WebhookSecret,
} from '../../protocol/access.ts';
import { PROJECT_NAME_PATTERN } from '../../protocol/limits.ts';
import { integer, objectError, seconds, text } from './common.ts';

const MAX_COUNT = 1_000_000;
const TIME = '2026-01-02T03:04:05.678Z';

const scopesSchema = z
  .array(z.enum(KEY_SCOPES, { error: KEY_SCOPES.join(' or ') }), { error: 'an array of scopes' })
  .min(1, { error: 'at least one scope' })
  .max(KEY_SCOPES.length)
  .openapi({
    description:
      '`enqueue` tasks; `read` queues, tasks with their payloads, and calendars; `manage`: change and delete them; `admin`: all of that, and keys and webhook secrets.',
  });

const queuesSchema = z
  .array(
    z
      .string({ error: 'a queue’s name or pattern' })
      .regex(QUEUE_PATTERN, { error: 'a queue’s name, or how it begins and a *' }),
    { error: 'an array of names and patterns' },
  )
  .min(1, { error: 'at least one queue, or null for every one' })
  .max(KEY_LIMIT.queues, { error: `at most ${KEY_LIMIT.queues} queues` })
  .nullable()
  .openapi({
    description:
      'The queues that the key may use: names, or how they begin with a `*` at the end. null = every one.',
    example: ['mail-*'],
  });

export const createKeySchema = z
  .strictObject(
    {
      label: text(0, KEY_LIMIT.labelCharacters)
        .optional()
        .openapi({ description: 'What people know it by.' }),
      scopes: scopesSchema
        .optional()
        .openapi({ description: `Default ${DEFAULT_KEY_SCOPES.join(', ')}.` }),
      queues: queuesSchema.optional(),
      expiresInSeconds: seconds(1, KEY_LIMIT.expiresInSeconds)
        .nullable()
        .optional()
        .openapi({ description: 'null = it never expires. Default null.' }),
    } satisfies Record<keyof CreateApiKey, z.ZodType>,
    { error: objectError },
  )
  .refine(({ scopes, queues }) => !(scopes?.includes('admin') && queues), {
    error: 'null, for `admin` goes for the whole project',
    path: ['queues'],
  })
  .openapi('CreateApiKey', { example: { label: 'web app', scopes: ['enqueue'] } });

export const keySchema = z
  .object({
    id: z.string(),
    label: z.string(),
    scopes: scopesSchema,
    queues: queuesSchema,
    createdAt: z.iso.datetime(),
    expiresAt: z.iso.datetime().nullable(),
    lastUsedAt: z.iso.datetime().nullable().openapi({ description: 'To the minute.' }),
    revokedAt: z.iso.datetime().nullable(),
  } satisfies Record<keyof ApiKeyInfo, z.ZodType>)
  .openapi('ApiKey', {
    example: {
      id: '0123456789abcdef',
      label: 'web app',
      scopes: ['enqueue'],
      queues: null,
      createdAt: TIME,
      expiresAt: null,
      lastUsedAt: null,
      revokedAt: null,
    },
  });

export const createdKeySchema = keySchema
  .extend({ key: z.string().openapi({ description: 'The key itself. It is not shown again.' }) })
  .openapi('CreatedApiKey');

export const keyParams = z.object({
  keyId: z
    .string()
    .regex(/^[\w-]{1,64}$/)
    .openapi({ param: { name: 'keyId', in: 'path' }, example: '0123456789abcdef' }),
});

const quotasShape = {
  maxBacklog: integer(0, MAX_COUNT).nullable().openapi({
    description:
      'Waiting tasks over all its queues (ready, scheduled, or held by their flow key). Counted as a queue’s `maxBacklog` is, with the same overshoot. null = no limit. Default null.',
  }),
  maxEnqueuesPerSecond: z
    .number({ error: 'a number from 0 to 1000000' })
    .min(0, { error: 'a number from 0 to 1000000' })
    .max(MAX_COUNT, { error: 'a number from 0 to 1000000' })
    .nullable()
    .openapi({
      description:
        'Tasks enqueued over all its queues; fractions are allowed. Shared by all processes, which draw up to a tenth of a second’s worth ahead: so much each may pass it in a moment. null = no limit. Default null.',
    }),
  maxEnqueueBurst: integer(1, MAX_COUNT).nullable().openapi({
    description: 'Tasks enqueued at once. null = a second’s worth, 1 at least. Default null.',
  }),
} satisfies Record<keyof ProjectQuotas, z.ZodType>;

const encryptPayloadsSchema = z.boolean({ error: 'true or false' }).openapi({
  description:
    'Whether payloads and headers of new tasks are encrypted at rest, in force within a second. Needs `ERRAND_MASTER_KEY`. Tasks that are there stay as they are. Default false.',
});

export const projectInputSchema = z
  .strictObject(
    {
      quotas: z.strictObject(quotasShape, { error: objectError }).partial().optional(),
      encryptPayloads: encryptPayloadsSchema.optional(),
    },
    { error: objectError },
  )
  .openapi('ProjectInput', { example: { quotas: { maxBacklog: 100_000 } } });

export const projectSchema = z
  .object({
    name: z.string(),
    quotas: z.object(quotasShape).openapi('ProjectQuotas'),
    encryptPayloads: encryptPayloadsSchema,
    createdAt: z.iso.datetime(),
  } satisfies Record<keyof Project, z.ZodType>)
  .openapi('Project', {
    example: {
      name: 'acme',
      quotas: { maxBacklog: 100_000, maxEnqueuesPerSecond: null, maxEnqueueBurst: null },
      encryptPayloads: false,
      createdAt: TIME,
    },
  });

export const projectParams = z.object({
  project: z
    .string()
    .regex(PROJECT_NAME_PATTERN, { error: '1 to 63 of a-z 0-9 -, not starting with -' })
    .openapi({ param: { name: 'project', in: 'path' }, example: 'acme' }),
});

export const webhookSecretSchema = z
  .object({
    id: z.string(),
    createdAt: z.iso.datetime(),
  } satisfies Record<keyof WebhookSecret, z.ZodType>)
  .openapi('WebhookSecret', { example: { id: '0123456789abcdef', createdAt: TIME } });

export const createdWebhookSecretSchema = webhookSecretSchema
  .extend({
    secret: z.string().openapi({
      description: 'For a Standard Webhooks library. It is not shown again.',
      example: 'whsec_AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=',
    }),
  })
  .openapi('CreatedWebhookSecret');

/** The schemas and the wire contract's types say the same: what differs does not compile. */
export type AccessSchemasAgree = [
  Same<z.output<typeof createKeySchema>, CreateApiKey>,
  Same<z.output<typeof keySchema>, ApiKeyInfo>,
  Same<z.output<typeof projectSchema>, Project>,
];
type Same<A extends B, B> = [B] extends [A] ? A : never;
