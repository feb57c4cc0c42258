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

/**
 * One column of a batch of rows, for an `unnest` of several. One without values is empty: `unnest` fills
 * the shorter ones up with nulls, and neither side has to spell them out. The first that is asked for is
 * never shortened, so that there are as many rows as were given, whatever is in them.
 */
export function columnsOf<Row>(sql: Sql, rows: readonly Row[]) {
  let isFirst = true;
  return (type: ArrayType, pick: (row: Row) => unknown) => {
    const values = rows.map(pick);
    const isWhole = isFirst || values.some(hasValue);
    isFirst = false;
    return array(sql, type, isWhole ? values : []);
  };
}

function hasValue(value: unknown): boolean {
  return value !== null && value !== undefined;
}

const NEEDS_ESCAPE = /["\\]/;

/** Syntax: "Array Input" in the PostgreSQL manual, 8.15.2. Bytes are hex digits behind an escaped `\\x`. */
function element(value: unknown): string {
  if (!hasValue(value)) return 'null';
  if (typeof value === 'string') {
    return `"${NEEDS_ESCAPE.test(value) ? value.replace(/["\\]/g, '\\$&') : value}"`;
  }
  if (value instanceof Uint8Array)
    return `"\\\\x${Buffer.from(value.buffer, value.byteOffset, value.byteLength).toString('hex')}"`;
  if (value instanceof Date) return `"${value.toISOString()}"`;
  return String(value);
}
