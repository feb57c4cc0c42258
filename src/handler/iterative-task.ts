import { completed, continued } from './answer.ts';
import type { RunningAttempt, TaskContext } from './attempt.ts';
import { answerAttempt } from './attempt.ts';
import { ConfigurationError, FatalTaskError } from './errors.ts';
import type { IterationState } from './iteration-state.ts';
import { readIterationState, writeIterationState } from './iteration-state.ts';
import { validate } from './payload.ts';
import type { WorkerOptions } from './settings.ts';
import { resolveSettings } from './settings.ts';
import type { StandardSchema } from './standard-schema.ts';
import type { TaskHandler } from './task.ts';

/** One batch, as `fetchBatch` gives it. */
export interface Batch<Entity, Cursor> {
  /** At most `limit` of them; may be empty while there is a `nextCursor`. */
  entities: Entity[];
  /** Where the next batch starts; null or undefined when this is the last. Must be a JSON value. */
  nextCursor?: Cursor | null;
  /** How many entities there are in all, if it is cheap to know: the task's progress comes from it. */
  total?: number;
}

export interface IterativeTask<Entity, Cursor, Filter> {
  /** Entities a step, an integer ≥ 1. One step must fit in the dispatch deadline. */
  batch: number;
  /** Fetches up to `limit` entities from `startCursor` on; null is the beginning. */
  fetchBatch(
    startCursor: Cursor | null,
    limit: number,
    filter: Filter,
    context: TaskContext,
  ): Batch<Entity, Cursor> | Promise<Batch<Entity, Cursor>>;
  /** Works on one batch. It may see a batch more than once, so it must be idempotent. */
  work(entities: Entity[], context: TaskContext): unknown;
  /** Validates the payload's `filter`. Each step gets the payload's own filter, validated anew. */
  filter?: StandardSchema<Filter>;
  /** Validates the cursor that a step starts from. */
  cursor?: StandardSchema<Cursor>;
  /** Pause between two steps, a number from 0 to 2,592,000 (30 days). Default 0. */
  delaySeconds?: number;
}

/** The longest delay that the service takes of a continuation. */
const MAX_DELAY_SECONDS = 30 * 86_400;

/** What the task's output tells when it is through. */
export interface IterationOutput {
  entities: number;
  steps: number;
}

/**
 * Makes the handler of a task that walks over any number of entities, a batch a step. Each step ends
 * with the enqueueing of the next in one write (a continuation), so the walk neither forks nor breaks,
 * a failing batch alone is retried from its own cursor, and a deploy interrupts nothing.
 *
 * Enqueue it with an empty payload, or with `{"filter": …}`. The output is `IterationOutput`. A step
 * whose answer was lost runs again: **a batch may be worked on more than once**, so `work` must be
 * idempotent.
 *
 * The task fails for good when `fetchBatch` gives more than `limit` entities, a `nextCursor` equal to
 * where it started (it would never end) or one that is not JSON, or when the next payload would be
 * larger than 1 MiB; nothing of that batch is worked on then.
 *
 * @throws ConfigurationError here and now, when an option is missing or wrong.
 *
 * @example
 * const expireTrials = iterativeTask({
 *   batch: 100,
 *   fetchBatch: async (after: number | null, limit) => {
 *     const entities = await db.trials({ after: after ?? 0, limit });
 *     return { entities, nextCursor: entities.length < limit ? null : entities.at(-1)?.id };
 *   },
 *   work: (trials) => db.expire(trials.map((trial) => trial.id)),
 * }, { issuer: 'https://errand.example', publicUrl: 'https://app.example' });
 */
export function iterativeTask<Entity, Cursor = string, Filter = unknown>(
  definition: IterativeTask<Entity, Cursor, Filter>,
  options: WorkerOptions = {},
): TaskHandler {
  const settings = resolveSettings(options);
  checkDefinition(definition);
  return (request) =>
    answerAttempt(request, settings, async (attempt) => {
      const state = readIterationState(attempt.context.body);
      return runStep(definition, state, attempt);
    });
}

async function runStep<Entity, Cursor, Filter>(
  definition: IterativeTask<Entity, Cursor, Filter>,
  state: IterationState,
  attempt: RunningAttempt,
): Promise<Response> {
  const { context } = attempt;
  const filter = await validated(definition.filter, state.filter, '/filter');
  const cursor =
    state.cursor === null ? null : await validated(definition.cursor, state.cursor, '/cursor');
  const batch = await definition.fetchBatch(cursor, definition.batch, filter, context);
  checkBatch(batch, definition.batch);
  const done = state.done + batch.entities.length;
  // Everything that can go wrong with the next step is found before the work is done.
  const { nextCursor = null } = batch;
  const next = nextCursor === null ? null : writeIterationState({ ...state, done }, nextCursor);
  if (batch.entities.length > 0) await definition.work(batch.entities, context);
  if (next === null) {
    const output: IterationOutput = { entities: done, steps: context.step + 1 };
    return completed(output, 100);
  }
  const progress = attempt.progress ?? progressOf(done, batch.total);
  return continued({ payload: next, progress, delaySeconds: definition.delaySeconds });
}

type Checked = Pick<IterativeTask<unknown, unknown, unknown>, 'batch' | 'delaySeconds'> &
  Record<'fetchBatch' | 'work', unknown>;

function checkDefinition(definition: Checked): void {
  const { batch, delaySeconds = 0 } = definition;
  if (!Number.isSafeInteger(batch) || batch < 1) {
    throw new ConfigurationError(`batch must be an integer of at least 1, got ${batch}`);
  }
  if (!(delaySeconds >= 0 && delaySeconds <= MAX_DELAY_SECONDS)) {
    throw new ConfigurationError(
      `delaySeconds must be a number from 0 to ${MAX_DELAY_SECONDS}, got ${delaySeconds}`,
    );
  }
  for (const name of ['fetchBatch', 'work'] as const) {
    if (typeof definition[name] !== 'function') {
      throw new ConfigurationError(`${name} must be a function, got ${typeof definition[name]}`);
    }
  }
}

async function validated<Value>(
  schema: StandardSchema<Value> | undefined,
  value: unknown,
  root: string,
): Promise<Value> {
  return schema === undefined ? (value as Value) : validate(schema, value, root);
}

function checkBatch(batch: Batch<unknown, unknown>, limit: number): void {
  if (!Array.isArray(batch?.entities)) {
    throw new FatalTaskError('fetchBatch must return { entities: [...], nextCursor }');
  }
  if (batch.entities.length > limit) {
    throw new FatalTaskError(
      `fetchBatch must return at most the ${limit} entities it was asked for, got ${batch.entities.length}`,
    );
  }
}

/** While something remains it is never 100, however old the total is. */
function progressOf(done: number, total: number | undefined): number | undefined {
  if (total === undefined || !(total > 0)) return undefined;
  return Math.min(99, Math.floor((100 * done) / total));
}
