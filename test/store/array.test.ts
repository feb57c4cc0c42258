import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { type ArrayType, array, columnsOf } from '../../src/store/array.ts';
import { useDatabase } from './task-fixture.ts';

const database = useDatabase();

async function roundTrip(type: ArrayType, pgType: string, values: readonly unknown[]) {
  const { sql } = database;
  const rows = await sql`
    select v from unnest(${array(sql, type, values)}) with ordinality as u(v, n) order by n`;
  const [row] = await sql`
    select pg_typeof(${array(sql, type, values)})::text as type`;
  expect(row!.type).toBe(pgType);
  return rows.map(({ v }) => v);
}

describe('array()', () => {
  it.each<[ArrayType, string, unknown[]]>([
    ['boolean', 'boolean[]', [true, null, false]],
    ['bytea', 'bytea[]', [Buffer.from([0, 255, 92, 34]), null, Buffer.alloc(0)]],
    ['smallint', 'smallint[]', [-1000, null, 32767]],
    ['integer', 'integer[]', [null, -2147483648]],
    ['text', 'text[]', ['', 'NULL', null, 'null', '{a,b}', '"\\', 'a\nb', "'", 'ö🎉', ' ']],
    ['bigint', 'bigint[]', ['9223372036854775807', null]],
    ['real', 'real[]', [0.5, null]],
    ['float', 'double precision[]', [0.1, null, 1e300, -0.0000001]],
    ['timestamptz', 'timestamp with time zone[]', [new Date('2026-01-02T03:04:05.678Z'), null]],
    ['uuid', 'uuid[]', ['01234567-89ab-7def-8123-456789abcdef', null]],
  ])('carries %s, null included, as %s', async (type, pgType, values) => {
    expect(await roundTrip(type, pgType, values)).toEqual(values);
    expect(await roundTrip(type, pgType, [])).toEqual([]);
    expect(await roundTrip(type, pgType, [null])).toEqual([null]);
  });

  it('carries any text and any bytes unchanged', async () => {
    const text = fc.string({ unit: 'grapheme' }).filter((value) => !value.includes('\0'));
    const bytes = fc.uint8Array().map((value) => Buffer.from(value));
    await fc.assert(
      fc.asyncProperty(fc.array(fc.option(text)), fc.array(fc.option(bytes)), async (a, b) => {
        expect(await roundTrip('text', 'text[]', a)).toEqual(a);
        expect(await roundTrip('bytea', 'bytea[]', b)).toEqual(b);
      }),
      { numRuns: 50 },
    );
  });
});

describe('columnsOf()', () => {
  interface Row {
    a: number | null;
    b?: string | null;
    c?: Buffer | null;
  }

  const unnested = async (rows: readonly Row[]) => {
    const column = columnsOf(database.sql, rows);
    const found = await database.sql`
      select * from unnest(
        ${column('integer', (r) => r.a)}, ${column('text', (r) => r.b)}, ${column('bytea', (r) => r.c)}
      ) as r(a, b, c)`;
    return [...found];
  };

  it('turns rows into columns, in which values and nulls keep their places', async () => {
    const rows = [
      { a: 1, b: null, c: Buffer.from([1]) },
      { a: 2, b: 'x', c: null },
      { a: 3, b: null, c: Buffer.alloc(0) },
    ];
    expect(await unnested(rows)).toEqual(rows);
    expect(await unnested([{ a: 1 }, { a: 2, b: 'x' }])).toEqual([
      { a: 1, b: null, c: null },
      { a: 2, b: 'x', c: null },
    ]);
  });

  it('sends a column without values empty, and it comes out as nulls', async () => {
    const column = columnsOf(database.sql, [{ a: 1 }, { a: 2 }] as Row[]);
    const [row] = await database.sql`
      select cardinality(${column('integer', (r) => r.a)}) as a,
        cardinality(${column('text', (r) => r.b)}) as b,
        cardinality(${column('bytea', (r) => r.c)}) as c`;
    expect(row).toEqual({ a: 2, b: 0, c: 0 });
    expect(await unnested([{ a: 1 }, { a: 2 }])).toEqual([
      { a: 1, b: null, c: null },
      { a: 2, b: null, c: null },
    ]);
  });

  it('loses no row, even where no column has a value', async () => {
    const empty = { a: null, b: null, c: null };
    expect(await unnested([empty, empty])).toEqual([empty, empty]);
    expect(await unnested([])).toEqual([]);
  });

  it('brings back as many rows as it was given, whatever is null in them', async () => {
    const row = fc.record({
      a: fc.option(fc.integer({ min: -1000, max: 1000 })),
      b: fc.option(fc.string({ unit: 'grapheme-ascii' })),
      c: fc.option(fc.uint8Array().map((value) => Buffer.from(value))),
    });
    const check = async (rows: Row[]) => {
      expect(await unnested(rows)).toEqual(rows);
    };
    await fc.assert(fc.asyncProperty(fc.array(row, { maxLength: 5 }), check), { numRuns: 50 });
  });
});
