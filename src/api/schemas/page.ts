import { z } from '@hono/zod-openapi';

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
  cursor: z.string().max(1000).optional().openapi({
    description: 'The `nextCursor` of the page before, of the same list and project; it is opaque.',
    example: 'pJ0Cq5m1Wc0a7iT3xkQ8u1yVnE2rS9fLb6gHd4oZ',
  }),
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

function limitError(): string {
  return `an integer from 1 to ${MAX_LIMIT}`;
}
