import type { Sql } from './database.ts';

/** OIDs of the array types that statements pass; fixed by Postgres (pg_type.dat). */
const ARRAY_OID = {
  boolean: 1000,
  bytea: 1001,
  smallint: 1005,
  integer: 1007,
  text: 1009,
  bigint: 1016,
  real: 1021,
  float: 1022,
  timestamptz: 1185,
  uuid: 2951,
} as const;

export type ArrayType = keyof typeof ARRAY_OID;

/**
 * An array parameter of a stated type. Left to itself the driver guesses from the first element, takes
 * a Date or a Buffer for the whole parameter, and prepares another statement when that one is null; and
 * it knows array types only by asking the server, which `connect` forbids.
 */
export function array(sql: Sql, type: ArrayType, values: readonly unknown[]) {
  return sql.typed(`{${values.map(element).join(',')}}` as never, ARRAY_OID[type]);
}

/** One column of a batch of rows, for `unnest`. */
export function columnsOf<Row>(sql: Sql, rows: readonly Row[]) {
  return (type: ArrayType, pick: (row: Row) => unknown) => array(sql, type, rows.map(pick));
}

/** Syntax: "Array Input" in the PostgreSQL manual, 8.15.2. Bytes are hex digits behind an escaped `\\x`. */
function element(value: unknown): string {
  if (value === null || value === undefined) return 'null';
  if (value instanceof Uint8Array)
    return `"\\\\x${Buffer.from(value.buffer, value.byteOffset, value.byteLength).toString('hex')}"`;
  if (value instanceof Date) return `"${value.toISOString()}"`;
  if (typeof value === 'string') return `"${value.replace(/["\\]/g, '\\$&')}"`;
  return String(value);
}
