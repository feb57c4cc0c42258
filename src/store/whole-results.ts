import type { Sql } from 'postgres';

/**
 * Makes the result of every statement that is written as a template consist of its own rows alone; `sql.unsafe`, which
 * is for DDL and fragments here, returns none.
 *
 * Of a connection that was lost in the middle of a result the driver goes on counting rows on the one that takes
 * its place (postgres.js 3.4.9: `closed()` leaves `rows` as it is): the next result begins with as many holes as rows
 * had come before. Enqueued tasks would be told each other's ids, and a shard of ours, looked for in the first row,
 * would be taken for lost. The server says how many rows it sent, so the others are dropped.
 */
export function withWholeResults(sql: Sql): Sql {
  const call = sql as (...args: unknown[]) => unknown;
  return Object.assign((...args: unknown[]) => watched(call(...args)), sql) as unknown as Sql;
}

/** Also called for names and values, which are resolved to nothing. */
function watched(made: unknown): unknown {
  const query = made as { resolve?: (result: Result) => void };
  const { resolve } = query;
  if (resolve !== undefined) query.resolve = (result) => resolve(withoutHoles(result));
  return made;
}

interface Result extends Array<unknown> {
  /** Rows that were sent, or changed where none were; null where the server counts none. */
  count?: number | null;
}

function withoutHoles(result: Result): Result {
  const holes = result.length - (result.count ?? result.length);
  if (holes > 0) result.splice(0, holes);
  return result;
}
