import { z } from '@hono/zod-openapi';
import { LIMIT, TASK_NAME_PATTERN } from '../../protocol/limits.ts';
import type { CreateTask } from '../../protocol/resources.ts';
import { received } from '../input-errors.ts';
import {
  headersSchema,
  integer,
  isStorable,
  objectError,
  retrySchema,
  seconds,
  text,
} from './common.ts';
import { timeOf, timeSchema } from './task-time.ts';

const TOKEN = "[!#$%&'*+.^_`|~0-9A-Za-z-]+";
/** RFC 9110, section 8.3.1. */
const MEDIA_TYPE = new RegExp(
  `^${TOKEN}/${TOKEN}(?:[ \\t]*;[ \\t]*${TOKEN}=(?:${TOKEN}|"[^"\\\\\\x00-\\x1f\\x7f-\\uffff]*"))*$`,
);
const METHODS = ['POST', 'PUT', 'PATCH', 'DELETE', 'GET', 'HEAD'] as const;
const ONE_YEAR_SECONDS = 31_536_000;
const NAME = '1 to 500 of A-Z a-z 0-9 _ -';
const PAYLOAD = `text of at most ${LIMIT.payloadBytes} bytes in UTF-8, without lone surrogates`;
const BASE64 = `padded base64 (RFC 4648, section 4) of at most ${LIMIT.payloadBytes} bytes`;
const URL_TEXT = `a URL of 1 to ${LIMIT.urlCharacters} characters, without blanks and control characters`;

/**
 * Body of `POST /v1/queues/{queue}/tasks`, as far as it can be judged without its queue; the rest is
 * `resolveTask`.
 */
export const createTaskSchema = z
  .strictObject(
    {
      url: z
        .string({ error: URL_TEXT })
        .max(LIMIT.urlCharacters, { error: URL_TEXT })
        .refine((url) => /^[^\0-\x20\x7f]+$/.test(url) && isStorable(url), { error: URL_TEXT })
        .openapi({
          description:
            'Where the payload is sent: an absolute http or https URL, or a path when the queue has `target.baseUrl`. A fragment is dropped.',
          example: 'https://worker.example/tasks/email',
        }),
      payload: z
        .string({ error: PAYLOAD })
        .refine(isPayload, { error: PAYLOAD })
        .optional()
        .openapi({ description: 'The body as text; its UTF-8 bytes are sent as they are.' }),
      payloadBase64: z
        .string({ error: BASE64 })
        .refine(isBase64, { error: BASE64 })
        .optional()
        .openapi({ description: 'The body as bytes. At most one of `payload` and this.' }),
      contentType: z
        .string({ error: 'a media type (RFC 9110), as text/plain' })
        .max(255, { error: 'a media type of at most 255 characters' })
        .regex(MEDIA_TYPE, { error: 'a media type (RFC 9110), as text/plain' })
        .optional()
        .openapi({
          description:
            'Default: `application/json` when the payload parses as JSON, else `text/plain; charset=utf-8`; `application/octet-stream` for `payloadBase64`.',
        }),
      method: z
        .enum(METHODS, { error: METHODS.join(', ') })
        .optional()
        .openapi({ description: 'GET and HEAD take no payload.', default: 'POST' }),
      headers: headersSchema
        .optional()
        .openapi({ description: 'Sent with each attempt, over those of the queue’s `target`.' }),
      name: z.string({ error: NAME }).regex(TASK_NAME_PATTERN, { error: NAME }).optional().openapi({
        description:
          'Unique in its queue while the task lives and for `nameRetentionSeconds` after: a second task of the name is refused.',
        example: 'welcome-42',
      }),
      scheduleTime: timeSchema
        .optional()
        .openapi({ description: 'Not dispatched before. At most one of this and `delaySeconds`.' }),
      delaySeconds: seconds()
        .optional()
        .openapi({ description: 'From now, by the database’s clock.' }),
      expireTime: timeSchema
        .optional()
        .openapi({ description: 'The task fails rather than start an attempt after this.' }),
      priority: integer(LIMIT.priority.min, LIMIT.priority.max)
        .optional()
        .openapi({ description: 'Higher goes first.', default: 0 }),
      flowKey: text(1, 200).optional(),
      retry: retrySchema.optional(),
      dispatchDeadlineSeconds: seconds(
        LIMIT.dispatchDeadlineSeconds.min,
        LIMIT.dispatchDeadlineSeconds.max,
      )
        .optional()
        .openapi({ description: 'How long one attempt may take. Default: the queue’s.' }),
      retentionSeconds: seconds(0, ONE_YEAR_SECONDS)
        .optional()
        .openapi({ description: 'How long the ended task can be read. Default: the queue’s.' }),
      owner: text(1, 200)
        .optional()
        .openapi({ description: 'Whom the task is for; tasks can be listed by it.' }),
      labels: labelsSchema().optional(),
    } satisfies Record<keyof CreateTask, z.ZodType>,
    { error: objectError },
  )
  .superRefine((task, context) => {
    for (const [field, expected] of contradictions(task)) {
      const input = task[field];
      context.addIssue({ code: 'custom', message: expected, path: [field], input });
    }
  })
  .openapi('CreateTask', {
    example: { url: 'https://worker.example/tasks/email', payload: '{"to":"a@example.com"}' },
  });

/** What each field must be beside the others. */
function contradictions(task: CreateTask): [keyof CreateTask, string][] {
  const found: [keyof CreateTask, string][] = [];
  const payload = task.payload === undefined ? 'payloadBase64' : 'payload';
  if (task.payload !== undefined && task.payloadBase64 !== undefined) {
    found.push(['payloadBase64', 'nothing, as there is a payload']);
  }
  if ((task.method === 'GET' || task.method === 'HEAD') && task[payload] !== undefined) {
    found.push([payload, `nothing, as a ${task.method} request has no body`]);
  }
  if (task.scheduleTime !== undefined && task.delaySeconds !== undefined) {
    found.push(['delaySeconds', 'nothing, as there is a scheduleTime']);
  }
  if (
    task.scheduleTime !== undefined &&
    task.expireTime !== undefined &&
    timeOf(task.expireTime) <= timeOf(task.scheduleTime)
  ) {
    found.push(['expireTime', `a time after the scheduleTime, ${received(task.scheduleTime)}`]);
  }
  return found;
}

function labelsSchema() {
  const key = 'a key of 1 to 63 characters, without NUL and lone surrogates';
  const size = `at most ${LIMIT.labels} labels`;
  return z
    .record(z.string(), text(0, 255), { error: 'an object of keys and texts' })
    .superRefine((labels, context) => {
      for (const name of Object.keys(labels)) {
        if (name.length >= 1 && name.length <= 63 && isStorable(name)) continue;
        context.addIssue({ code: 'custom', message: key, path: [name] });
      }
      if (Object.keys(labels).length > LIMIT.labels) {
        context.addIssue({ code: 'custom', message: size });
      }
    })
    .openapi({
      description: `For your own use: at most ${LIMIT.labels}, keys to 63 characters, values to 255.`,
      example: { tenant: 'acme' },
    });
}

/** NUL is fine here: payloads are stored as bytes. */
function isPayload(payload: string): boolean {
  return payload.isWellFormed() && Buffer.byteLength(payload) <= LIMIT.payloadBytes;
}

/** Decoding skips what is no base64, so only what comes back the same was strict. */
function isBase64(text: string): boolean {
  if (text.length > Math.ceil(LIMIT.payloadBytes / 3) * 4) return false;
  const bytes = Buffer.from(text, 'base64');
  return bytes.length <= LIMIT.payloadBytes && bytes.toString('base64') === text;
}
