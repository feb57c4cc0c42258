import { readdir, readFile } from 'node:fs/promises';
import type { Sql } from 'postgres';
import { insistOnLocks, isContended, type OnContended } from './contended.ts';
import { StoreError } from './errors.ts';

const MIGRATIONS = new URL('../../migrations/', import.meta.url);
/** Any number that is ours alone among the users of this database. */
const LOCK = 7_276_881_344;
const OLDEST_POSTGRES = 15;
/**
 * Whoever comes after a migration that waits for a table waits with it, so it gives up soon. And before
 * Postgres looks for a deadlock (after 1 s), so that no statement of a process at work is ended for one.
 */
const LOCK_TIMEOUT = '500ms';

interface Migration {
  number: number;
  name: string;
  text: string;
}

/**
 * Brings schema `errand` up to this version of the code; safe when several processes start at once,
 * and to repeat. Returns the names of the migrations it applied itself. What cannot have its locks is tried
 * again for about a minute and a half, and `onContended` told of it.
 *
 * Throws `postgres-too-old`, `schema-too-new` when the database was migrated by a newer version, and
 * `migration-conflict` when a migration fails or the recorded ones are not the ones in this package.
 */
export async function migrate(sql: Sql, onContended: OnContended = () => {}): Promise<string[]> {
  const migrations = await readMigrations();
  await checkServer(sql);
  await insistOnLocks('ledger', () => createLedger(sql), onContended);
  const applied: string[] = [];
  for (;;) {
    const version = checkLedger(await readLedger(sql), migrations);
    const next = migrations[version];
    if (next === undefined) return applied;
    const apply = () => applyMigration(sql, next);
    const isOurs = await insistOnLocks(next.name, apply, onContended).catch((error) => {
      throw failed(next, error);
    });
    if (isOurs) applied.push(next.name);
  }
}

/** Told first, for on an older server the migrations would fail in the middle with a riddle. */
async function checkServer(sql: Sql): Promise<void> {
  const [row] = await sql<{ number: number; version: string }[]>`
    select current_setting('server_version_num')::integer as number,
      current_setting('server_version') as version
  `;
  if (row!.number >= OLDEST_POSTGRES * 10_000) return;
  throw new StoreError(
    'postgres-too-old',
    `The database must be Postgres ${OLDEST_POSTGRES} or newer, got ${row!.version}: upgrade it, or point DATABASE_URL at another`,
  );
}

async function readMigrations(): Promise<Migration[]> {
  const names = (await readdir(MIGRATIONS)).filter((name) => /^\d{4}_.+\.sql$/.test(name)).sort();
  return Promise.all(
    names.map(async (name, index) => {
      const number = Number(name.slice(0, 4));
      if (number !== index + 1) {
        throw new StoreError(
          'migration-conflict',
          `Migrations must be numbered without gaps: expected ${index + 1}, got ${name}`,
        );
      }
      return { number, name, text: await readFile(new URL(name, MIGRATIONS), 'utf8') };
    }),
  );
}

/** `if not exists` races with itself in Postgres, hence the lock; one call is one transaction. */
async function createLedger(sql: Sql): Promise<void> {
  await sql.unsafe(`
    select pg_advisory_xact_lock(${LOCK});
    create schema if not exists errand;
    create table if not exists errand.migration (
      number     integer primary key,
      name       text not null,
      applied_at timestamptz not null default now()
    );
  `);
}

async function readLedger(sql: Sql): Promise<{ number: number; name: string }[]> {
  return sql<{ number: number; name: string }[]>`
    select number, name from errand.migration order by number
  `;
}

function checkLedger(ledger: { number: number; name: string }[], migrations: Migration[]): number {
  if (ledger.length > migrations.length) {
    throw new StoreError(
      'schema-too-new',
      `The database has schema version ${ledger.length}, this version of errand knows ${migrations.length}: run a newer errand, or point DATABASE_URL at another database`,
    );
  }
  for (const [index, row] of ledger.entries()) {
    const expected = migrations[index]?.name;
    if (row.number === index + 1 && row.name === expected) continue;
    throw new StoreError(
      'migration-conflict',
      `Migration ${index + 1} of the database is ${row.name}, this version of errand has ${expected}: they come from different versions; use the version that created the schema, or another database`,
    );
  }
  return ledger.length;
}

/**
 * Applies one migration and its ledger row in one transaction (a multi-statement simple query is
 * one). Another process may have been faster: the guard sees that after the lock and changes nothing.
 */
async function applyMigration(sql: Sql, migration: Migration): Promise<boolean> {
  try {
    await sql.unsafe(`
      select pg_advisory_xact_lock(${LOCK});
      select set_config('lock_timeout', '${LOCK_TIMEOUT}', true);
      do $guard$ begin
        if (select count(*) from errand.migration) <> ${migration.number - 1} then
          raise exception using errcode = 'ER002', message = 'already applied';
        end if;
      end $guard$;
      ${migration.text};
      insert into errand.migration (number, name) values (${migration.number}, '${migration.name}');
    `);
    return true;
  } catch (error) {
    if ((error as { code?: string }).code === 'ER002') return false;
    throw error;
  }
}

function failed({ name }: Migration, error: unknown): StoreError {
  const advice = isContended(error)
    ? 'Others hold locks on its tables all the time: look for transactions that stay open (pg_stat_activity), and start again'
    : 'Check that the role may create in this database and that schema "errand" holds nothing of anyone else\'s';
  const message = `Migration ${name} failed: ${(error as Error).message}; nothing of it was applied. ${advice}`;
  return new StoreError('migration-conflict', message, { cause: error });
}
