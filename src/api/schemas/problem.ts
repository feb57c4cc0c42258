import { z } from '@hono/zod-openapi';
import { PROBLEM, type Problem, type ProblemCode } from '../../protocol/problem.ts';

const CODES = Object.keys(PROBLEM) as [ProblemCode, ...ProblemCode[]];

export const problemSchema = z
  .object({
    type: z.string().openapi({ example: 'urn:errand:problem:not-found' }),
    title: z.string(),
    status: z.int(),
    code: z.enum(CODES).openapi({ description: 'Stable: what programs should look at.' }),
    detail: z.string().openapi({ description: 'For people: what was expected, and what came.' }),
    errors: z
      .array(z.object({ pointer: z.string(), expected: z.string(), received: z.string() }))
      .optional()
      .openapi({
        description:
          'With `invalid-request`: everything wrong with it. `pointer` is an RFC 6901 pointer into the body, `?name` for a query parameter, or `header name`.',
      }),
    taskId: z
      .string()
      .optional()
      .openapi({ description: 'With `name-taken`: the task that holds the name.' }),
    retryAfterSeconds: z.int().optional().openapi({
      description:
        'With `queue-full`, `quota-exceeded` and `overloaded`: seconds until it is worth another try, also for an item of a batch.',
    }),
  } satisfies Record<keyof Problem, z.ZodType>)
  .openapi('Problem', { description: 'RFC 9457 problem details.' });

type StatusOf<Code extends ProblemCode> = (typeof PROBLEM)[Code]['status'];

export interface ProblemResponse {
  description: string;
  content: { 'application/problem+json': { schema: typeof problemSchema } };
}

/** What any `/v1` route may answer besides its own problems. */
const COMMON = [
  'invalid-request',
  'unauthenticated',
  'forbidden',
  'database-unavailable',
  'overloaded',
] as const;

/**
 * The error responses of a route, by status: the common ones and those named.
 *
 * @example
 * responses: { 200: …, ...problemResponses('not-found') }
 */
export function problemResponses<Code extends ProblemCode>(
  ...codes: Code[]
): Record<StatusOf<Code | (typeof COMMON)[number]>, ProblemResponse> {
  const responses: Record<number, ProblemResponse> = {};
  for (const code of [...COMMON, ...codes]) {
    const { status, title } = PROBLEM[code];
    const before = responses[status];
    const line = `\`${code}\`: ${title}.`;
    if (before?.description.includes(line)) continue;
    responses[status] = {
      description: before ? `${before.description} ${line}` : line,
      content: { 'application/problem+json': { schema: problemSchema } },
    };
  }
  return responses;
}

/** Problems of a route that takes a JSON body. */
export const BODY_PROBLEMS = ['invalid-json', 'body-too-large', 'unsupported-media-type'] as const;
