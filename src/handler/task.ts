import { completed } from './answer.ts';
import type { TaskContext } from './attempt.ts';
import { answerAttempt } from './attempt.ts';
import { ConfigurationError } from './errors.ts';
import { parseJson, validate } from './payload.ts';
import type { WorkerOptions } from './settings.ts';
import { resolveSettings } from './settings.ts';
import type { StandardSchema } from './standard-schema.ts';
import { isStandardSchema } from './standard-schema.ts';

/** A web handler. It answers every request, and never rejects. */
export type TaskHandler = (request: Request) => Promise<Response>;

/** What `task()` takes beside the worker's options. */
export interface TaskOptions<Input> extends WorkerOptions {
  /**
   * A Standard Schema (zod, valibot, arktype, …): the payload is parsed as JSON and validated, and a
   * payload that isn't valid fails the task at once. Without it the task gets the payload as text.
   */
  input: StandardSchema<Input>;
}

/** Does the work. Returns nothing, a string, a Response with status 200, or any JSON value. */
export type TaskFunction<Input> = (input: Input, context: TaskContext) => unknown;

/**
 * Makes the handler of a target: it verifies the request, runs `fn`, and answers what the service
 * should do next.
 *
 * | `fn` | the task |
 * |---|---|
 * | returns | succeeds; the value is its output (a string as text, the rest as JSON) |
 * | throws `FatalTaskError` | fails for good, with the message as the reason |
 * | throws `RetryLaterError` | is retried, not sooner than it says |
 * | throws anything else | is retried with backoff; the message (never the stack) is kept |
 *
 * A task may run more than once (dispatch is at least once): make its effect idempotent by `taskId`.
 *
 * @throws ConfigurationError here and now, when an option is missing or wrong.
 *
 * @example
 * const sendEmail = task(async ({ to }, { taskId }) => mailer.send({ to, idempotencyKey: taskId }), {
 *   issuer: 'https://errand.example',
 *   publicUrl: 'https://app.example',
 *   input: z.object({ to: z.email() }),
 * });
 * app.post('/tasks/email', (c) => sendEmail(c.req.raw));
 */
export function task<Input>(fn: TaskFunction<Input>, options: TaskOptions<Input>): TaskHandler;
export function task(
  fn: TaskFunction<string>,
  options?: WorkerOptions & { input?: undefined },
): TaskHandler;
export function task<Input>(
  fn: TaskFunction<Input>,
  options: WorkerOptions & { input?: StandardSchema<Input> } = {},
): TaskHandler {
  const settings = resolveSettings(options);
  const { input: schema } = options;
  if (schema !== undefined && !isStandardSchema(schema)) {
    throw new ConfigurationError('input must be a Standard Schema, such as a zod or valibot one');
  }
  return (request) =>
    answerAttempt(request, settings, async (attempt) => {
      const { context } = attempt;
      const input =
        schema === undefined
          ? (context.text() as Input)
          : await validate(schema, parseJson(context.body));
      const output = await fn(input, context);
      return completed(output, attempt.progress);
    });
}
