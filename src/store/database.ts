/**
 * The way to Postgres. Every verb of this folder takes `sql` first and is one statement; callers run
 * verbs through a Database, which bounds each by a wall clock and replaces a pool that hangs.
 */
import postgres, { type Sql } from 'postgres';
import { asStoreError, StoreError, sqlState } from './errors.ts';

export type { Sql };

export interface Database {
  /**
   * Runs one verb. Throws StoreError `database-unavailable` when nothing was sent, `outcome-unknown`
   * when the connection was lost or the bound passed: the statement may have been committed.
   */
  run<Result>(verb: (sql: Sql) => PromiseLike<Result>, options?: RunOptions): Promise<Result>;
  /** Ends every connection; statements in flight get `graceMs` (default 2,000). */
  close(graceMs?: number): Promise<void>;
}

export interface RunOptions {
  /** Wall-clock bound in milliseconds. Default: the database's. */
  timeoutMs?: number;
}

export interface DatabaseOptions {
  url: string;
  /** Connections at most. */
  connections: number;
  /** Wall-clock bound of a statement in milliseconds. Default 2,000. */
  timeoutMs?: number;
  /** Shown in pg_stat_activity. */
  name: string;
}

/**
 * Every statement of the store finds its rows by key. A plan that was made while a table was all but
 * empty reads the table instead, and is kept when it has grown: 20,000 tasks after a quiet minute took
 * 38 s instead of 2. Where no key serves, as for a small table, the planner still reads it.
 */
export const BY_KEY = { enable_seqscan: 'off', jit: 'off', plan_cache_mode: 'force_generic_plan' };

/**
 * postgres.js has no query timeout, and a statement on a half-open connection waits for ever: each
 * run is raced against a timer, and when that wins the whole pool is swapped for a new one (the old
 * one is ended at once). Measured: fails in its bound, recovers in about 10 ms.
 */
export function openDatabase(options: DatabaseOptions): Database {
  const defaultTimeoutMs = options.timeoutMs ?? 2_000;
  let settings: SessionSettings | null = BY_KEY;
  let pool = connect(options, settings);
  /** The pool whose settings a pooler refused; there is one at most, for its successor has none. */
  let refused: Sql | null = null;
  let isClosed = false;

  function replace(stuck: Sql): void {
    if (pool !== stuck || isClosed) return;
    pool = connect(options, settings);
    void stuck.end({ timeout: 0 }).catch(ignoreEnd);
  }

  async function run<Result>(
    verb: (sql: Sql) => PromiseLike<Result>,
    { timeoutMs = defaultTimeoutMs }: RunOptions = {},
  ): Promise<Result> {
    if (isClosed) throw new StoreError('database-unavailable', 'The database was closed');
    const sql = pool;
    const endMs = performance.now() + timeoutMs;
    const bound = startBound(timeoutMs);
    try {
      return await Promise.race([verb(sql), bound.passed]);
    } catch (error) {
      if (settings !== null && isRefusal(error)) {
        settings = null;
        refused = sql;
        replace(sql);
      }
      if (sql === refused && (isRefusal(error) || wasNeverSent(error))) {
        return await run(verb, { timeoutMs: Math.max(1, endMs - performance.now()) });
      }
      if (mustReplacePool(error)) replace(sql);
      throw asStoreError(error);
    } finally {
      bound.stop();
    }
  }

  return {
    run,
    async close(graceMs = 2_000) {
      isClosed = true;
      await pool.end({ timeout: graceMs / 1000 }).catch(ignoreEnd);
    },
  };
}

type SessionSettings = Record<string, string>;

/**
 * A plain client, as it is for the few things that are no hot path: LISTEN, migrations, the CLI. Without
 * `settings` (null) it keeps nothing in its session, prepared statements neither, for a pooler in
 * transaction mode: each statement is then planned by itself.
 */
export function connect(
  options: Omit<DatabaseOptions, 'timeoutMs'>,
  settings: SessionSettings | null = {},
): Sql {
  return postgres(options.url, {
    max: options.connections,
    connect_timeout: 5,
    backoff: () => 0.2,
    idle_timeout: 0,
    // A connection that is lost while it asks for types is a rejection that nobody can catch.
    fetch_types: false,
    onnotice: () => {},
    prepare: settings !== null,
    connection: { application_name: options.name, ...settings },
    ...PIPELINE,
  });
}

/** A quick statement must not wait behind a slow one; the driver's types do not know the option. */
const PIPELINE: object = { max_pipeline: 1 };

class BoundPassed extends StoreError {
  constructor(timeoutMs: number) {
    super('outcome-unknown', `The database did not answer within ${timeoutMs} ms`);
  }
}

function startBound(timeoutMs: number): { passed: Promise<never>; stop(): void } {
  let timer: NodeJS.Timeout | undefined;
  const passed = new Promise<never>((_, reject) => {
    timer = setTimeout(() => {
      reject(new BoundPassed(timeoutMs));
    }, timeoutMs);
  });
  return { passed, stop: () => clearTimeout(timer) };
}

/** A pooler refuses the settings of a session, before anything was sent: 08P01, "unsupported startup parameter". */
function isRefusal(error: unknown): boolean {
  return sqlState(error) === '08P01' && /startup parameter/.test(String(error));
}

/**
 * True for what waited for a connection when its pool was ended. The driver hangs a statement's
 * parameters on its error, and they are there from the moment it is written to a connection.
 */
function wasNeverSent(error: unknown): boolean {
  const isEnded = ['CONNECTION_DESTROYED', 'CONNECTION_ENDED'].includes(sqlState(error) ?? '');
  return isEnded && (error as { parameters?: unknown }).parameters === undefined;
}

/** A pool whose statement hit the bound is stuck; one that turned read-only (a failover) stays so. */
function mustReplacePool(error: unknown): boolean {
  return error instanceof BoundPassed || sqlState(error) === '25006';
}

/** Ending a broken pool may itself fail; there is nothing left to do about it. */
function ignoreEnd(): void {}
