import type { Reserve } from '../model.ts';
import { createBatcher } from '../store/batch.ts';
import { behindUnanswered, type Database, isUnanswered } from '../store/database.ts';
import { type Enqueued, enqueueTasks, type NewTask } from '../store/enqueue.ts';
import { enqueueNamedTasks, isRowRefused } from '../store/enqueue-named.ts';
import { isDatabaseAway, sqlState } from '../store/errors.ts';
import { createPartitions, isPartitionMissing } from '../store/partitions.ts';
import { ProblemError } from './problem.ts';
import { createReservedSend, type SentTask } from './reserved-send.ts';

/** Measured: 8 MiB in one statement takes 0.3 to 0.7 s, and more beside others. */
const PART_BYTES = 1024 * 1024;
const PART_ITEMS = 500;

export interface Enqueuer {
  /** Enqueues one task, together with those of other requests. Throws what went wrong. */
  one(task: NewTask): Promise<SentTask & { result: Enqueued }>;
  /** Enqueues the tasks of one request in their order; each comes to its own result or error. */
  all(tasks: readonly NewTask[]): Promise<(Enqueued | Error)[]>;
}

type Send = (tasks: readonly NewTask[]) => Promise<(Enqueued | Error)[]>;

/** Behind a statement in flight fewer tasks wait for its end. */
const WORTHWHILE = 16;

/**
 * Few statements carry many tasks: measured, two in flight with up to 24 tasks each gave the best
 * latency and throughput together. Tasks with a name or a key may have to wait for a stranger's
 * transaction, so they never share a statement with those that may not. The tasks of one request go one
 * statement after another: spread over several in flight they would lose their order.
 */
export function createEnqueuer(database: Database, reserve: Reserve = () => null): Enqueuer {
  const send = createSend(database);
  const refusalOfWaiting = (error: unknown) => (isUnanswered(error) ? behindUnanswered() : null);
  const plain = createBatcher({
    maxItems: 24,
    maxInFlight: 2,
    worthwhile: WORTHWHILE,
    bytesOf: ({ body }) => body.length,
    run: createReservedSend(database, send, reserve),
    refusalOfWaiting,
  });
  const named = createBatcher({ maxItems: 24, maxInFlight: 3, run: send, refusalOfWaiting });
  const requests = createBatcher({
    maxItems: 1,
    maxInFlight: 2,
    run: async ([tasks = []]: (readonly NewTask[])[]) => [await sendParts(partsOf(tasks), send)],
    refusalOfWaiting,
  });
  return {
    async one(task) {
      const { result, isTaken } = canCollide(task)
        ? { result: await named(task), isTaken: false }
        : await plain(task);
      if (result instanceof Error) throw result;
      return { result, isTaken };
    },
    all: (tasks) => requests(tasks),
  };
}

/** One after the other. Rejects only when nothing was done and the database does not answer. */
async function sendParts(parts: NewTask[][], send: Send): Promise<(Enqueued | Error)[]> {
  const results: (Enqueued | Error)[] = [];
  let isStuck = false;
  for (const part of parts) {
    try {
      results.push(...(isStuck ? part.map(behindUnanswered) : await send(part)));
    } catch (error) {
      if (isUnanswered(error) && results.length === 0) throw error;
      isStuck = isUnanswered(error);
      results.push(...part.map(() => error as Error));
    }
  }
  return results;
}

/** Parts whose payloads a statement carries well within its time: of one task at least. */
function partsOf(tasks: readonly NewTask[]): NewTask[][] {
  const parts: NewTask[][] = [];
  let bytes = Number.POSITIVE_INFINITY;
  for (const task of tasks) {
    bytes += task.body.length;
    if (bytes > PART_BYTES || parts.at(-1)!.length === PART_ITEMS) {
      parts.push([]);
      bytes = task.body.length;
    }
    parts.at(-1)!.push(task);
  }
  return parts;
}

/** One statement, or one for each task where one of them spoils it. Rejects only when the database is away. */
function createSend(database: Database): Send {
  const insert = (tasks: readonly NewTask[]) =>
    database.run((sql) => (tasks.some(canCollide) ? enqueueNamedTasks : enqueueTasks)(sql, tasks));

  async function run(tasks: readonly NewTask[]): Promise<Enqueued[]> {
    try {
      return await insert(tasks);
    } catch (error) {
      if (!isPartitionMissing(error)) throw error;
      await database.run((sql) => createPartitions(sql), { timeoutMs: 10_000 });
      return insert(tasks);
    }
  }

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
      if (isDatabaseAway(error)) throw error;
      if (!isRowRefused(error)) return tasks.map(() => error as Error);
    }
    const results: (Enqueued | Error)[] = [];
    for (const task of tasks) {
      results.push(results.some(isUnanswered) ? behindUnanswered() : await alone(task));
    }
    return results;
  };
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
