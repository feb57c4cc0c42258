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
 * postgres.js has no query timeout, and a statement on a half-open connection waits for ever: each
 * run is raced against a timer, and when that wins the whole pool is swapped for a new one (the old
 * one is ended at once). Measured: fails in its bound, recovers in about 10 ms.
 */
export function openDatabase(options: DatabaseOptions): Database {
  const defaultTimeoutMs = options.timeoutMs ?? 2_000;
  let pool = connect(options);
  let isClosed = false;

  function replace(stuck: Sql): void {
    if (pool !== stuck || isClosed) return;
    pool = connect(options);
    void stuck.end({ timeout: 0 }).catch(ignoreEnd);
  }

  return {
    async run(verb, { timeoutMs = defaultTimeoutMs } = {}) {
      if (isClosed) throw new StoreError('database-unavailable', 'The database was closed');
      const sql = pool;
      const bound = startBound(timeoutMs);
      try {
        return await Promise.race([verb(sql), bound.passed]);
      } catch (error) {
        if (mustReplacePool(error)) replace(sql);
        throw asStoreError(error);
      } finally {
        bound.stop();
      }
    },
    async close(graceMs = 2_000) {
      isClosed = true;
      await pool.end({ timeout: graceMs / 1000 }).catch(ignoreEnd);
    },
  };
}

/** A plain client for the few things that are no hot path: LISTEN, migrations, the CLI. */
export function connect(options: Omit<DatabaseOptions, 'timeoutMs'>): Sql {
  return postgres(options.url, {
    max: options.connections,
    connect_timeout: 5,
    backoff: () => 0.2,
    idle_timeout: 0,
    // A connection that is lost while it asks for types is a rejection that nobody can catch.
    fetch_types: false,
    onnotice: () => {},
    connection: { application_name: options.name },
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

/** A pool whose statement hit the bound is stuck; one that turned read-only (a failover) stays so. */
function mustReplacePool(error: unknown): boolean {
  return error instanceof BoundPassed || sqlState(error) === '25006';
}

/** Ending a broken pool may itself fail; there is nothing left to do about it. */
function ignoreEnd(): void {}
