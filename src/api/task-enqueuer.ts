import { createBatcher } from '../store/batch.ts';
import type { Database } from '../store/database.ts';
import { type Enqueued, enqueueTasks, type NewTask } from '../store/enqueue.ts';
import { enqueueNamedTasks, isRowRefused } from '../store/enqueue-named.ts';
import { sqlState } from '../store/errors.ts';
import { ProblemError } from './problem.ts';

export interface Enqueuer {
  /** Enqueues one task, together with those of other requests. Throws what went wrong. */
  one(task: NewTask): Promise<Enqueued>;
  /** Enqueues the tasks of one request in their order; each comes to its own result or error. */
  all(tasks: readonly NewTask[]): Promise<(Enqueued | Error)[]>;
}

type Send = (tasks: readonly NewTask[]) => Promise<(Enqueued | Error)[]>;

/**
 * Few statements carry many tasks: measured, three in flight with up to 24 tasks each gave the best
 * latency and throughput together. Tasks with a name or a key may have to wait for a stranger's
 * transaction, so they never share a statement with those that may not. The tasks of one request go in
 * one statement of their own: spread over several in flight they would lose their order.
 */
export function createEnqueuer(database: Database): Enqueuer {
  const send = createSend(database);
  const sendNamed: Send = (tasks) => inRounds(tasks, send);
  const plain = createBatcher({ maxItems: 24, maxInFlight: 3, run: send });
  const named = createBatcher({ maxItems: 24, maxInFlight: 3, run: sendNamed });
  const requests = createBatcher({
    maxItems: 1,
    maxInFlight: 2,
    run: (each: (readonly NewTask[])[]) => Promise.all(each.map(sendNamed)),
  });
  return {
    async one(task) {
      const result = await (canCollide(task) ? named(task) : plain(task));
      if (result instanceof Error) throw result;
      return result;
    },
    all: (tasks) => (tasks.length === 0 ? Promise.resolve([]) : requests(tasks)),
  };
}

/** One statement, or one for each task where one of them spoils it; never rejects. */
function createSend(database: Database): Send {
  const run = (tasks: readonly NewTask[]) =>
    database.run((sql) => (tasks.some(canCollide) ? enqueueNamedTasks : enqueueTasks)(sql, tasks));

  async function alone(task: NewTask): Promise<Enqueued | Error> {
    try {
      // ER001: its name was taken while the statement ran; the next one sees by whom.
      const [result] = await run([task]).catch((error) => {
        if (sqlState(error) === 'ER001') return run([task]);
        throw error;
      });
      return result!;
    } catch (error) {
      return isContended(error) ? contended(task) : (error as Error);
    }
  }

  return async (tasks) => {
    try {
      return await run(tasks);
    } catch (error) {
      if (!isRowRefused(error)) return tasks.map(() => error as Error);
    }
    const results: (Enqueued | Error)[] = [];
    for (const task of tasks) results.push(await alone(task));
    return results;
  };
}

/**
 * Sends tasks so that no statement has a name or key twice: the first of each goes before the others,
 * which then find it taken. Results are in the order of the tasks.
 */
async function inRounds(tasks: readonly NewTask[], send: Send): Promise<(Enqueued | Error)[]> {
  const results: (Enqueued | Error)[] = [];
  let left = tasks.map((task, index) => ({ task, index }));
  while (left.length > 0) {
    const seen = new Set<string>();
    const round: typeof left = [];
    const later: typeof left = [];
    for (const entry of left) (addAll(seen, keysOf(entry.task)) ? round : later).push(entry);
    const sent = await send(round.map(({ task }) => task));
    for (const [at, { index }] of round.entries()) results[index] = sent[at]!;
    left = later;
  }
  return results;
}

function keysOf({ queue, name, idempotency }: NewTask): string[] {
  const keys = [];
  if (name !== null) keys.push(`name ${queue} ${name}`);
  if (idempotency !== null) keys.push(`key ${queue} ${idempotency.key}`);
  return keys;
}

/** False, and adds none, when one is there already. */
function addAll(seen: Set<string>, keys: readonly string[]): boolean {
  if (keys.some((key) => seen.has(key))) return false;
  for (const key of keys) seen.add(key);
  return true;
}

function canCollide(task: NewTask): boolean {
  return task.name !== null || task.idempotency !== null;
}

/** 55P03: its holder's transaction is still open. ER001 again: it goes from hand to hand. */
function isContended(error: unknown): boolean {
  const code = sqlState(error);
  return code === '55P03' || code === 'ER001';
}

function contended({ name }: NewTask): ProblemError {
  const what = name === null ? 'Its Idempotency-Key' : `The name "${name}"`;
  return new ProblemError(
    'database-unavailable',
    `${what} is held by a transaction that is still open, so it is not known who will have it; nothing was done, repeat the request`,
  );
}
