import { randomBytes } from 'node:crypto';
import { readdirSync } from 'node:fs';
import postgres, { type Sql } from 'postgres';
import { afterAll, beforeAll, beforeEach, describe, expect, inject, it } from 'vitest';
import { migrate } from '../../src/store/migrate.ts';

const MIGRATIONS = readdirSync('migrations').filter((file) => file.endsWith('.sql'));

let admin: Sql;
let name: string;
const open: Sql[] = [];

beforeAll(() => {
  admin = connect('postgres');
});

afterAll(() => admin.end());

/** An empty database for each test. */
beforeEach(async () => {
  name = `test_${randomBytes(6).toString('hex')}`;
  await admin.unsafe(`create database ${name}`);
  return async () => {
    await Promise.all(open.splice(0).map((sql) => sql.end()));
    await admin.unsafe(`drop database ${name} with (force)`);
  };
});

function connect(database = name): Sql {
  const url = inject('postgresUrl').replace(/[^/]+$/, database);
  const sql = postgres(url, { max: 1, onnotice: () => {} });
  if (database === name) open.push(sql);
  return sql;
}

const ledger = (sql: Sql) => sql<{ number: number; name: string }[]>`
  select number, name from errand.migration order by number`;

async function tables(sql: Sql): Promise<number> {
  const [row] = await sql`
    select count(*)::integer as tables from pg_class where relnamespace = 'errand'::regnamespace
      and relkind in ('r', 'p')`;
  return row!.tables;
}

describe('migrate()', () => {
  it('brings an empty database up to the version of the code, once', async () => {
    const sql = connect();
    const applied = await migrate(sql);
    expect(applied).toEqual(MIGRATIONS.toSorted());
    expect((await ledger(sql)).map((row) => row.name)).toEqual(applied);
    expect(await migrate(sql)).toEqual([]);
  });

  it('applies each migration once when several processes start at once', async () => {
    const applied = await Promise.all([1, 2, 3, 4].map(() => migrate(connect())));
    expect(applied.flat()).toHaveLength(MIGRATIONS.length);
    expect(await ledger(connect())).toHaveLength(MIGRATIONS.length);
  });

  it('refuses a schema of a newer version', async () => {
    const sql = connect();
    await migrate(sql);
    const newer = MIGRATIONS.length + 1;
    await sql`insert into errand.migration (number, name) values (${newer}, 'from the future')`;
    const error = { code: 'schema-too-new', message: expect.stringContaining(`version ${newer}`) };
    await expect(migrate(sql)).rejects.toMatchObject(error);
  });

  it('refuses a schema of which it knows another history', async () => {
    const sql = connect();
    await migrate(sql);
    await sql`update errand.migration set name = '0001_other.sql' where number = 1`;
    const error = {
      code: 'migration-conflict',
      message: expect.stringContaining('0001_other.sql'),
    };
    await expect(migrate(sql)).rejects.toMatchObject(error);
  });

  it('leaves nothing of a migration that fails, and succeeds when the reason is gone', async () => {
    const sql = connect();
    await sql.unsafe('create schema errand; create table errand.finished (mine integer)');
    const error = { code: 'migration-conflict', message: expect.stringContaining('finished') };
    await expect(migrate(sql)).rejects.toMatchObject(error);
    expect(await ledger(sql)).toEqual([]);
    expect(await tables(sql)).toBe(2);
    await sql`drop table errand.finished`;
    expect(await migrate(sql)).toHaveLength(MIGRATIONS.length);
  });
});
