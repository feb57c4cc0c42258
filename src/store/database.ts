/**
 * The way to Postgres. Every verb of this folder takes `sql` first and is one statement; callers run
 * verbs through a Database, which bounds each by a wall clock and replaces a pool that hangs.
 */
import { setTimeout as delay } from 'node:timers/promises';
import postgres, { type Sql } from 'postgres';
import { createDialer, type Line } from './dialer.ts';
import { asStoreError, isDatabaseAway, StoreError, sqlState } from './errors.ts';
import { withWholeResults } from './whole-results.ts';

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
 * Every statement of the store finds its rows by key, in the order of its index. The planner goes by what statistics
 * said when it last looked, and where that was in a moment in which a room was empty it takes any index of it for as
 * good as any other, or none: all of the room is read for each claim, and sorted. 20,000 tasks after a quiet minute
 * took 38 s instead of 2, and 2,000 a second fell to 400 beside an old transaction. Where no key serves, as for a small
 * table, the planner still reads and sorts it.
 */
export const BY_KEY = {
  enable_seqscan: 'off',
  enable_bitmapscan: 'off',
  enable_sort: 'off',
  jit: 'off',
  plan_cache_mode: 'force_generic_plan',
};

/**
 * The session of a process that vanished without a word may hold locks, and claims pass over what is locked:
 * the server notices within half a minute, instead of its system's two hours.
 */
const KEEPALIVES = {
  tcp_keepalives_idle: '15',
  tcp_keepalives_interval: '5',
  tcp_keepalives_count: '3',
};

/**
 * postgres.js has no query timeout, and a statement on a half-open connection waits for ever: each
 * run is raced against a timer, and when that wins the whole pool is swapped for a new one (the old
 * one is ended at once). Measured: fails in its bound, recovers in about 10 ms.
 */
export function openDatabase(options: DatabaseOptions): Database {
  const defaultTimeoutMs = options.timeoutMs ?? 2_000;
  const newDialer = () => createDialer({ ...options, patienceMs: TURN_MS });
  let dialer = newDialer();
  const open = () => {
    const line = dialer.pool(() => replace(opened));
    const opened = createPool(options, settings, line, CONNECT_MS);
    return opened;
  };
  let settings: SessionSettings | null = { ...BY_KEY, ...KEEPALIVES };
  let pool = open();
  /** The pool whose settings a pooler refused; there is one at most, for its successor has none. */
  let refused: Sql | null = null;
  let isClosed = false;

  function replace(stuck: Sql): void {
    if (pool !== stuck || isClosed) return;
    pool = open();
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
    let answer: Promise<Result> | null = null;
    try {
      answer = Promise.resolve(verb(sql));
      return await Promise.race([answer, bound.passed]);
    } catch (error) {
      if (settings !== null && isRefusal(error)) {
        settings = null;
        refused = sql;
        // It was met with a refusal, but is well.
        dialer = newDialer();
        replace(sql);
      }
      if (sql === refused && (isRefusal(error) || wasNeverSent(error))) {
        return await run(verb, { timeoutMs: Math.max(1, endMs - performance.now()) });
      }
      if (mustReplacePool(error)) replace(sql);
      throw storeError(error instanceof NoAnswer ? await lastWord(answer!, error) : error);
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

/**
 * Together less than the bound of a statement: what gets no connection fails by itself, and costs the others
 * nothing. A pool that was replaced for each began anew with every connection, and a database that was only
 * slow, for it had just come back, was kept from ever answering: it took 7 s on a loaded machine.
 */
const TURN_MS = 400;
const CONNECT_MS = 1_100;
/** Of what waits for nobody else. */
const PATIENT_CONNECT_MS = 5_000;
/** The driver ends a pool in the next turn or two. */
const LAST_WORD_MS = 20;

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
  return createPool(options, settings, createDialer(options).pool(), PATIENT_CONNECT_MS);
}

function createPool(
  { url, connections, name }: DatabaseOptions,
  settings: SessionSettings | null,
  line: Line,
  connectMs: number,
): Sql {
  const client = postgres(url, {
    max: connections,
    connect_timeout: connectMs / 1_000,
    // The dialer paces them.
    backoff: () => 0,
    idle_timeout: 0,
    // A connection that is lost while it asks for types is a rejection that nobody can catch.
    fetch_types: false,
    onnotice: () => {},
    prepare: settings !== null,
    connection: { application_name: name, ...settings },
    ...untyped(line),
  });
  const sql = withWholeResults(client);
  const end: Sql['end'] = sql.end;
  return Object.assign(sql, { end: (how) => end(how).finally(line.hangUp) } as Pick<Sql, 'end'>);
}

/** Options that the driver's types do not know. A quick statement must not wait behind a slow one. */
function untyped({ socket }: Line): object {
  return { max_pipeline: 1, socket };
}

/** The database did not answer in time, or there was no connection to it. */
class NoAnswer extends StoreError {}

/** True when what is sent at once after it would fare no better. */
export function isUnanswered(error: unknown): boolean {
  return error instanceof NoAnswer;
}

/** For what was not even sent, since a statement before it got no answer. */
export function behindUnanswered(): StoreError {
  return new StoreError(
    'database-unavailable',
    'Nothing was sent, for the database does not answer those who came before',
  );
}

function startBound(timeoutMs: number): { passed: Promise<never>; stop(): void } {
  let timer: NodeJS.Timeout | undefined;
  const passed = new Promise<never>((_, reject) => {
    timer = setTimeout(() => {
      const message = `The database did not answer within ${timeoutMs} ms`;
      reject(new NoAnswer('outcome-unknown', message));
    }, timeoutMs);
  });
  return { passed, stop: () => clearTimeout(timer) };
}

/**
 * A statement that hit its bound ends when its pool does: it tells then whether it ever left. One that
 * was sent may yet be answered, so it is not waited for.
 */
async function lastWord(answer: Promise<unknown>, hung: NoAnswer): Promise<unknown> {
  const end = answer.then(
    () => hung,
    (error: unknown) => error,
  );
  const error = await Promise.race([end, delay(LAST_WORD_MS, hung)]);
  return wasNeverSent(error) ? error : hung;
}

function storeError(error: unknown): unknown {
  const told = asStoreError(error);
  if (!isDatabaseAway(told)) return told;
  if (wasNeverSent(error)) {
    const message = `There was no connection to the database (${sqlState(error)})`;
    return new NoAnswer('database-unavailable', message, { cause: error });
  }
  if (!wasEnded(error)) return told;
  const message = 'The connection was given up with others that get no answer';
  return new NoAnswer('outcome-unknown', message, { cause: error });
}

/** A pooler refuses the settings of a session, before anything was sent: 08P01, "unsupported startup parameter". */
function isRefusal(error: unknown): boolean {
  return sqlState(error) === '08P01' && /startup parameter/.test(String(error));
}

/**
 * True for what waited for a connection until there was none to be had. The driver hangs a statement's
 * parameters on its error, and they are there from the moment it is written to a connection.
 */
function wasNeverSent(error: unknown): boolean {
  const isOfDriver = wasEnded(error) || (error instanceof Error && 'parameters' in error);
  return isOfDriver && (error as { parameters?: unknown }).parameters === undefined;
}

/** The driver's word for what ends with its pool. */
function wasEnded(error: unknown): boolean {
  return ['CONNECTION_DESTROYED', 'CONNECTION_ENDED'].includes(sqlState(error) ?? '');
}

/** A pool whose statement hit the bound is stuck; one that turned read-only (a failover) stays so. */
function mustReplacePool(error: unknown): boolean {
  return error instanceof NoAnswer || sqlState(error) === '25006';
}

/** Ending a broken pool may itself fail; there is nothing left to do about it. */
function ignoreEnd(): void {}
