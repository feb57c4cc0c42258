import { z } from '@hono/zod-openapi';
import { received } from '../input-errors.ts';
import { invalidRequest } from '../problem.ts';

const DEFAULT_LIMIT = 50;
const MAX_LIMIT = 200;

/** `limit` and `cursor`: the query of every list. Spread its shape into a strict object. */
export const pageQuery = {
  limit: z
    .string()
    .regex(/^\d{1,4}$/, { error: limitError })
    .transform(Number)
    .refine((limit) => limit >= 1 && limit <= MAX_LIMIT, { error: limitError })
    .optional()
    .openapi({
      type: 'integer',
      description: `How many items to return: 1 to ${MAX_LIMIT}. Default ${DEFAULT_LIMIT}.`,
      example: 50,
    }),
  cursor: z
    .string()
    .max(1000)
    .optional()
    .openapi({ description: 'The `nextCursor` of the page before.', example: 'WyJlbWFpbHMiXQ' }),
};

export function pageLimit(limit: number | undefined): number {
  return limit ?? DEFAULT_LIMIT;
}

/** The shape of a page of `item`s. */
export function pageSchema<Item extends z.ZodType>(item: Item) {
  return z.object({
    items: z.array(item),
    nextCursor: z
      .string()
      .nullable()
      .openapi({ description: 'Pass it as `cursor` for the next page; null on the last.' }),
  });
}

/** Opaque to users: the keys of the last item, as they sort. */
export function encodeCursor(keys: readonly string[]): string {
  return Buffer.from(JSON.stringify(keys)).toString('base64url');
}

/** The keys of `encodeCursor`. Throws `invalid-request` on what is no cursor of `count` keys. */
export function decodeCursor(cursor: string, count: number): string[] {
  const keys = parse(Buffer.from(cursor, 'base64url').toString());
  if (Array.isArray(keys) && keys.length === count && keys.every(isCursorKey)) return keys;
  throw invalidRequest([
    { pointer: '?cursor', expected: 'the nextCursor of a page', received: received(cursor) },
  ]);
}

function parse(json: string): unknown {
  try {
    return JSON.parse(json);
  } catch {
    return null; // Whatever it was, it is no cursor of ours.
  }
}

function isCursorKey(key: unknown): key is string {
  return typeof key === 'string' && !key.includes('\0');
}

function limitError(): string {
  return `an integer from 1 to ${MAX_LIMIT}`;
}
