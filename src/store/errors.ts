import { ErrandError } from '../errors.ts';

export type StoreErrorCode =
  | 'database-unavailable'
  | 'outcome-unknown'
  | 'schema-too-new'
  | 'migration-conflict'
  | 'postgres-too-old';

/** A failure of the database or of the way to it, as the rooms above need to tell them apart. */
export class StoreError extends ErrandError {
  declare readonly code: StoreErrorCode;

  constructor(code: StoreErrorCode, message: string, options?: { cause?: unknown }) {
    super(code, message, options);
  }
}

/** SQLSTATEs and driver codes after which nothing of the statement took effect. */
const NOT_STARTED = new Set([
  'ECONNREFUSED',
  'ENOTFOUND',
  'EAI_AGAIN',
  'EHOSTUNREACH',
  'ENETUNREACH',
  'CONNECT_TIMEOUT',
  'CONNECTION_REFUSED', // Closed before it said anything; see createDialer.
  '57P03', // cannot_connect_now: starting up or shutting down
  '57014', // query_canceled: by somebody, or by a statement_timeout of the role
  '53000', // insufficient_resources, of which the others are kinds
  '53100', // disk_full
  '53200', // out_of_memory
  '53300', // too_many_connections
  '53400', // configuration_limit_exceeded
  '25006', // read_only_sql_transaction: this is a standby
  '28P01',
  '28000',
  '3D000',
]);

/** Codes after which the statement may or may not have been committed. */
const UNKNOWN = new Set([
  'CONNECTION_CLOSED',
  'CONNECTION_ENDED',
  'CONNECTION_DESTROYED',
  'ECONNRESET',
  'EPIPE',
  'ETIMEDOUT',
  '57P01', // admin_shutdown
  '57P02', // crash_shutdown
  '08006',
  '08003',
  '08000',
  '08P01', // What PgBouncer says of everything, such as a server that went away or cannot be reached.
]);

/**
 * Turns what the driver threw into a StoreError where it is about the database being away; anything
 * else (a constraint, a bug) comes back as it is. Messages carry codes only: Postgres puts values,
 * and so payloads, into its own.
 */
export function asStoreError(error: unknown): unknown {
  if (error instanceof ErrandError) return error;
  const code = sqlState(error);
  if (code === undefined) return error;
  if (NOT_STARTED.has(code)) {
    return new StoreError('database-unavailable', `The database is not reachable (${code})`, {
      cause: error,
    });
  }
  if (UNKNOWN.has(code)) {
    return new StoreError(
      'outcome-unknown',
      `The connection to the database was lost during a statement (${code})`,
      { cause: error },
    );
  }
  return error;
}

/** The SQLSTATE or driver code of an error, if it has one. */
export function sqlState(error: unknown): string | undefined {
  const code = (error as { code?: unknown } | null)?.code;
  return typeof code === 'string' ? code : undefined;
}

/** True when the database, not the request, is the reason. */
export function isDatabaseAway(error: unknown): boolean {
  return (
    error instanceof StoreError &&
    (error.code === 'database-unavailable' || error.code === 'outcome-unknown')
  );
}
