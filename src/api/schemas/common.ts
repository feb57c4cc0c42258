import { z } from '@hono/zod-openapi';
import { DEFAULT_QUEUE_SETTINGS, type RetryPolicy } from '../../model.ts';
import { isReservedHeader } from '../../protocol/headers.ts';
import { LIMIT, QUEUE_NAME_PATTERN } from '../../protocol/limits.ts';

/** RFC 9110, section 5.6.2: `token`. */
const HEADER_NAME = /^[!#$%&'*+.^_`|~0-9A-Za-z-]{1,200}$/;
/** Visible ASCII, blanks and Latin-1: what HTTP/1.1 carries byte for byte. */
const HEADER_VALUE = /^[\t\x20-\x7e\x80-\xff]*$/;
const LONGEST_SECONDS = 315_360_000;
export const MAX_RATE = 1_000_000;

const defaults = DEFAULT_QUEUE_SETTINGS.retry;

/** Text that Postgres can hold: no NUL, no half of a surrogate pair. */
export function text(minCharacters: number, maxCharacters: number) {
  const size =
    minCharacters === 0 ? `at most ${maxCharacters}` : `${minCharacters} to ${maxCharacters}`;
  const error = `text of ${size} characters, without NUL and lone surrogates`;
  return z
    .string({ error })
    .min(minCharacters, { error })
    .max(maxCharacters, { error })
    .refine(isStorable, { error });
}

/** A duration in seconds, fractions allowed; at most ten years unless `max` says otherwise. */
export function seconds(min = 0, max = LONGEST_SECONDS) {
  const error = `a number from ${min} to ${max}`;
  return z.number({ error }).min(min, { error }).max(max, { error });
}

export function integer(min: number, max: number) {
  const error = `an integer from ${min} to ${max}`;
  return z.int({ error }).min(min, { error }).max(max, { error });
}

/** Dispatches a second. */
export function rate() {
  const error = `a number above 0, at most ${MAX_RATE}`;
  return z.number({ error }).positive({ error }).max(MAX_RATE, { error });
}

export const retryShape = {
  maxAttempts: maxAttempts().openapi({
    description: `Attempts in all, the first included; −1 = unlimited. Default ${defaults.maxAttempts}.`,
  }),
  minBackoffSeconds: seconds().openapi({ description: `Default ${defaults.minBackoffSeconds}.` }),
  maxBackoffSeconds: seconds().openapi({ description: `Default ${defaults.maxBackoffSeconds}.` }),
  maxDoublings: integer(0, 1000).openapi({
    description: `How often the delay doubles before it grows linearly. Default ${defaults.maxDoublings}.`,
  }),
  maxRetryDurationSeconds: seconds().nullable().openapi({
    description: 'Counted from the first attempt; null = no limit. Default null.',
  }),
} satisfies Record<keyof RetryPolicy, z.ZodType>;

/** Part of a retry policy: what is left out comes from the next level. */
export const retrySchema = z
  .strictObject(retryShape, { error: objectError })
  .partial()
  .refine(
    ({ minBackoffSeconds: min, maxBackoffSeconds: max }) =>
      min === undefined || max === undefined || min <= max,
    { error: 'a number not below minBackoffSeconds', path: ['maxBackoffSeconds'] },
  )
  .openapi('RetryPolicyInput', {
    description:
      'Backoff and limits of retries; what is left out comes from the queue, then from the defaults. The delay starts at `minBackoffSeconds`, doubles `maxDoublings` times, then grows linearly, up to `maxBackoffSeconds`. A task fails once `maxAttempts` is reached; when `maxRetryDurationSeconds` is set too, both must be reached.',
    example: { maxAttempts: 10, minBackoffSeconds: 1, maxBackoffSeconds: 600 },
  });

/** Headers of the dispatched request that a task or a queue sets. */
export const headersSchema = z
  .record(z.string(), z.string({ error: 'text' }), {
    error: 'an object of header names and values',
  })
  .superRefine((headers, context) => {
    for (const [name, value] of Object.entries(headers)) {
      const expected = headerError(name, value);
      if (expected) context.addIssue({ code: 'custom', message: expected, path: [name] });
    }
    const expected = headersError(headers);
    if (expected) context.addIssue({ code: 'custom', message: expected });
  })
  .openapi({ example: { 'X-Tenant': 'acme' } });

export const queueNameSchema = z
  .string({ error: 'a queue name' })
  .regex(QUEUE_NAME_PATTERN, { error: '1 to 100 of A-Z a-z 0-9 _ -' });

export const queueParams = z.object({
  queue: queueNameSchema.openapi({
    param: { name: 'queue', in: 'path' },
    example: 'emails',
    description: 'Name of the queue.',
  }),
});

/** True when Postgres takes it as text, in a column as well as inside jsonb. */
export function isStorable(value: string): boolean {
  return !value.includes('\0') && value.isWellFormed();
}

/** For strict objects: an unknown field is named by its pointer, so the message stays short. */
export function objectError(issue: { code?: string }): string {
  return issue.code === 'unrecognized_keys' ? 'no field of this name' : 'an object';
}

function maxAttempts() {
  const error = '−1 (unlimited) or an integer from 1 to 1000000';
  return z
    .int({ error })
    .min(-1, { error })
    .max(1_000_000, { error })
    .refine((value) => value !== 0, { error });
}

function headerError(name: string, value: string): string | null {
  if (!HEADER_NAME.test(name)) return 'a header name of 1 to 200 token characters (RFC 9110)';
  if (isReservedHeader(name)) return 'a header that is not reserved for HTTP or Errand';
  if (!HEADER_VALUE.test(value)) return 'a value of Latin-1 characters without control characters';
  if (value !== value.trim()) return 'a value without blanks around it';
  return null;
}

function headersError(headers: Record<string, string>): string | null {
  const names = Object.keys(headers);
  const bytes = names.reduce((sum, name) => sum + name.length + (headers[name]?.length ?? 0), 0);
  const distinct = new Set(names.map((name) => name.toLowerCase()));
  if (names.length > LIMIT.headers) return `at most ${LIMIT.headers} headers`;
  if (bytes > LIMIT.headersBytes) return `headers of at most ${LIMIT.headersBytes} bytes in all`;
  if (distinct.size < names.length) return 'each header once, whatever its case';
  return null;
}
