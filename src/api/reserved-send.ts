import type { Reservation, Reserve } from '../model.ts';
import type { Database } from '../store/database.ts';
import type { Enqueued, NewTask } from '../store/enqueue.ts';
import { enqueueReservedTasks, type ReservedResult } from '../store/enqueue-reserved.ts';
import { isDatabaseAway, sqlState } from '../store/errors.ts';

/** A task on its way, and what its owner keeps for it: null where it goes to `ready` like any other. */
interface WantedTask {
  task: NewTask;
  reservation: Reservation | null;
}

export interface SentTask {
  result: Enqueued | Error;
  /** True when its owner has it in hand already, and need not be woken. */
  isTaken: boolean;
}

/**
 * Sends tasks in one statement, those that their owners want at once leased to them. A reservation is made when
 * the statement is, for what only waits may be refused unsent, and ended with it, whatever comes of it. What
 * does not go so goes by `send`, as if nothing had been reserved. Rejects only when the database is away.
 */
export function createReservedSend(
  database: Database,
  send: (tasks: readonly NewTask[]) => Promise<(Enqueued | Error)[]>,
  reserve: Reserve,
): (tasks: readonly NewTask[]) => Promise<SentTask[]> {
  async function sendPlain(items: readonly WantedTask[]): Promise<SentTask[]> {
    const results = await send(items.map(({ task }) => task));
    return results.map((result) => ({ result, isTaken: false }));
  }

  function sendReserved(items: readonly WantedTask[]): Promise<ReservedResult[]> {
    const granted = items.map(({ task, reservation }) => {
      return { task, grant: reservation?.grant ?? null };
    });
    return database.run((sql) => enqueueReservedTasks(sql, granted));
  }

  /** Outside of what may fail, so that none is ended twice. */
  function endReserved(items: readonly WantedTask[], results: ReservedResult[]): SentTask[] {
    return results.map(({ result, lease }, index) => {
      const { reservation } = items[index]!;
      if (lease !== null) reservation!.take(lease);
      else reservation?.release();
      return { result, isTaken: lease !== null };
    });
  }

  return async (tasks) => {
    const items = tasks.map((task) => ({
      task,
      reservation: isForNow(task) ? reserve(task) : null,
    }));
    if (items.every(({ reservation }) => reservation === null)) return sendPlain(items);
    let results: ReservedResult[];
    try {
      results = await sendReserved(items);
    } catch (error) {
      const isUnknown = sqlState(error) === 'outcome-unknown';
      for (const { reservation } of items) {
        if (isUnknown) reservation?.lose();
        else reservation?.release();
      }
      // Refused as a whole, so none of it was written: one by one it is known which is to blame.
      if (!isDatabaseAway(error)) return sendPlain(items);
      throw error;
    }
    return endReserved(items, results);
  };
}

/** What has a time to be kept has it checked by the claim. */
function isForNow({ dueAt, delaySeconds, expireAt }: NewTask): boolean {
  return dueAt === null && delaySeconds === 0 && expireAt === null;
}
