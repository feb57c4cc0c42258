import { randomBytes } from 'node:crypto';
import { readdirSync, readFileSync } from 'node:fs';
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

  it.each(['40P01', '55P03'])('tries again what ends with %s, and says so', async (code) => {
    const sql = connect();
    await sql.unsafe(`
      create function public.refuse() returns event_trigger language plpgsql as
        $$ begin raise exception using errcode = '${code}'; end $$;
      create event trigger refuse on ddl_command_start when tag in ('CREATE TABLE')
        execute function public.refuse()`);
    const told: [string, string][] = [];
    const applied = await migrate(sql, (...contended) => {
      told.push(contended);
      if (told.length === 3) void connect()`drop event trigger refuse`.execute();
    });
    expect(applied).toHaveLength(MIGRATIONS.length);
    expect(told.length).toBeGreaterThanOrEqual(3);
    expect(new Set(told.map(([, why]) => why))).toEqual(new Set([code]));
  });

  it('lets others pass while a table that it needs is in use', async () => {
    const [sql, busy, other] = [connect(), connect(), connect()];
    await applyFirst(sql);
    const released = Promise.withResolvers<void>();
    const reads: Promise<unknown>[] = [];
    const reading = Promise.withResolvers<void>();
    const use = busy.begin(async (tx) => {
      await tx`select from errand.queue`;
      reading.resolve();
      await released.promise;
    });
    await reading.promise;
    const told: [string, string][] = [];
    const applied = await migrate(sql, (...contended) => {
      told.push(contended);
      // Nothing stands in its way now, though the table is in use still.
      reads.push(other`select from errand.queue`.then(() => released.resolve()));
    });
    await Promise.all([use, ...reads]);
    expect(told[0]).toEqual([MIGRATIONS.toSorted()[1], '55P03']);
    expect(applied).toHaveLength(MIGRATIONS.length - 1);
  });
});

/** A database as the first migration alone left it. */
async function applyFirst(sql: Sql): Promise<void> {
  const [first] = MIGRATIONS.toSorted();
  const text = readFileSync(`migrations/${first}`, 'utf8');
  await sql.unsafe(`
    create schema errand;
    create table errand.migration (
      number integer primary key, name text not null, applied_at timestamptz not null default now());
    ${text};
    insert into errand.migration (number, name) values (1, '${first}')`);
}
