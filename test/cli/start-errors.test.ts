import { once } from 'node:events';
import { rm, writeFile } from 'node:fs/promises';
import { type AddressInfo, createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import postgres from 'postgres';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { createTestDatabase, type TestDatabase } from '../support/database.ts';
import { runErrand } from './errand-process.ts';

const ERRAND_ADMIN_KEY = 'a-key-of-24-characters-x';

let database: TestDatabase;

beforeAll(async () => {
  database = await createTestDatabase();
});

afterAll(() => database.drop());

describe('errand serve', () => {
  it('refuses to start without DATABASE_URL and ERRAND_ADMIN_KEY, a line each', async () => {
    const { code, stdout, stderr } = await runErrand(['serve']);
    expect({ code, stdout }).toEqual({ code: 1, stdout: '' });
    expect(stderr.trimEnd().split('\n')).toEqual([
      expect.stringMatching(/^errand: DATABASE_URL is not set/),
      expect.stringMatching(/^errand: ERRAND_ADMIN_KEY is not set/),
    ]);
  });

  it.each([
    ['a URL that is not of Postgres', () => 'mysql://db/app', /^DATABASE_URL must be a URL of the/],
    [
      'a port that nothing listens on',
      () => edit({ port: '1' }),
      /^Cannot use the database test_\w+ at 127\.0\.0\.1:1 as errand: nothing listens there; start/,
    ],
    [
      'a host that does not exist',
      () => edit({ hostname: 'db.invalid' }),
      /^Cannot use the database test_\w+ at db\.invalid:\d+ as errand: (there is no such host|its host name)/,
    ],
    [
      'a wrong password',
      () => edit({ password: 'guessed' }),
      /as errand: the password is wrong; correct DATABASE_URL$/,
    ],
    [
      'a user that does not exist',
      () => edit({ username: 'stranger' }),
      /as stranger: the password is wrong; correct DATABASE_URL$/,
    ],
    [
      'a database that does not exist',
      () => edit({ pathname: '/nowhere' }),
      /^Cannot use the database nowhere at .*: there is no such database; create it/,
    ],
  ])('says in one line what to do about %s', async (_, url, line) => {
    expect(await startError({ DATABASE_URL: url() })).toMatch(line);
  });

  it('says in one line that its port is in use', async () => {
    const server = createServer().listen(0, '127.0.0.1');
    await once(server, 'listening');
    const { port } = server.address() as AddressInfo;
    const line = await startError({ ERRAND_PORT: String(port) });
    server.close();
    expect(line).toBe(
      `Cannot listen on port ${port} of 127.0.0.1: it is in use; ` +
        'stop the program that listens there, or set ERRAND_PORT to another',
    );
  });

  it('says in one line that this machine has not the address of ERRAND_HOST', async () => {
    const line = await startError({ ERRAND_HOST: '192.0.2.1', ERRAND_PORT: '0' });
    expect(line).toMatch(
      /^Cannot listen on .*192\.0\.2\.1: this machine has no such address; corr/,
    );
  });

  it('says in one line that there is no host of the name in ERRAND_HOST', async () => {
    const line = await startError({ ERRAND_HOST: 'errand.invalid' });
    expect(line).toMatch(/^Cannot listen on errand\.invalid: (there is no such host|its name)/);
  });

  it('refuses a schema that is newer than it, or of other migrations', async () => {
    const older = await createTestDatabase();
    const sql = postgres(older.url, { max: 1 });
    await sql`insert into errand.migration (number, name) values (9999, '9999_later.sql')`;
    const tooNew = await startError({ DATABASE_URL: older.url });
    await sql`delete from errand.migration where number = 9999`;
    await sql`update errand.migration set name = '0001_other.sql' where number = 1`;
    const conflict = await startError({ DATABASE_URL: older.url });
    await sql.end();
    await older.drop();
    expect(tooNew).toMatch(/^The database has schema version \d+, this .*: run a newer errand, or/);
    expect(conflict).toMatch(/^Migration 1 of the database is 0001_other\.sql, this version of/);
  });

  it('tells the stack with ERRAND_LOG_LEVEL=debug alone', async () => {
    const DATABASE_URL = edit({ port: '1' });
    const { stderr } = await runErrand(['serve'], {
      DATABASE_URL,
      ERRAND_ADMIN_KEY,
      ERRAND_LOG_LEVEL: 'debug',
    });
    expect(stderr).toMatch(/\n {4}at /);
  });
});

describe('errand dev', () => {
  it('says in one line that its data dir cannot be made', async () => {
    const file = join(tmpdir(), `errand-file-${process.pid}`);
    await writeFile(file, '');
    const { code, stderr } = await runErrand(['dev', '--data-dir', join(file, 'data')]);
    await rm(file);
    expect(code).toBe(1);
    expect(stderr).toBe(
      `errand: Cannot write ${join(file, 'data')}: a part of the path is a file; ` +
        'set ERRAND_DATA_DIR to another directory\n',
    );
  });
});

/** Starts `errand serve`, which must fail with one line on standard error and no more. */
async function startError(env: Record<string, string>): Promise<string> {
  const { code, stderr } = await runErrand(['serve'], {
    DATABASE_URL: database.url,
    ERRAND_ADMIN_KEY,
    ERRAND_PORT: '0',
    ...env,
  });
  expect({ code, lines: stderr.trimEnd().split('\n').length }).toEqual({ code: 1, lines: 1 });
  return stderr.trimEnd().replace(/^errand: /, '');
}

type Part = 'username' | 'password' | 'hostname' | 'port' | 'pathname';

function edit(parts: Partial<Record<Part, string>>): string {
  return Object.assign(new URL(database.url), parts).href;
}
