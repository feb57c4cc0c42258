import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import postgres from 'postgres';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { createTestDatabase, type TestDatabase } from '../support/database.ts';
import { runErrand } from './errand-process.ts';

let database: TestDatabase;
let directory: string;

beforeAll(async () => {
  database = await createTestDatabase();
  directory = await mkdtemp(join(tmpdir(), 'errand-cli-'));
});

afterAll(async () => {
  await database.drop();
  await rm(directory, { recursive: true, force: true });
});

describe('errand', () => {
  it('tells its version, and what it can do', async () => {
    const { version } = JSON.parse(await readFile('package.json', 'utf8'));
    expect(await runErrand(['--version'])).toMatchObject({ code: 0, stdout: `${version}\n` });
    const { code, stdout } = await runErrand(['--help']);
    expect(code).toBe(0);
    for (const command of [
      'dev',
      'serve',
      'dispatch',
      'drain',
      'migrate',
      'verify',
      'key',
      'project',
      'signing-key',
      'master-key',
      'openapi',
    ]) {
      expect(stdout).toMatch(new RegExp(`^ {2}${command}\\b`, 'm'));
    }
  });

  it('refuses a command that it does not have', async () => {
    const { code, stderr } = await runErrand(['sevre']);
    expect(code).toBe(1);
    expect(stderr).toMatch(/unknown command 'sevre'\n\(Did you mean serve\?\)/);
  });

  it('serve --help lists every setting', async () => {
    const { stdout } = await runErrand(['serve', '--help']);
    const source = await readFile('src/config.ts', 'utf8');
    const variables = source.match(/(?<=: ')(DATABASE_URL|ERRAND_\w+)(?=',\n)/g) ?? [];
    expect(variables).toHaveLength(18);
    for (const name of variables) expect(stdout).toContain(`\n  ${name} `);
  });
});

describe('errand migrate', () => {
  it('creates the schema in an empty database, and is safe to repeat', async () => {
    const empty = await createTestDatabase();
    const sql = postgres(empty.url, { max: 1, onnotice: () => {} });
    await sql`drop schema errand cascade`;
    await sql.end();
    const before = await runErrand(['verify'], { DATABASE_URL: empty.url });
    const first = await runErrand(['migrate'], { DATABASE_URL: empty.url });
    const second = await runErrand(['migrate'], { DATABASE_URL: empty.url });
    await empty.drop();
    expect(before.code).toBe(1);
    expect(before.stderr).toMatch(/has no schema of errand yet.*; run `errand migrate`\n$/);
    expect(first).toMatchObject({ code: 0, stdout: expect.stringContaining('applied 0001_') });
    expect(second).toMatchObject({ code: 0, stdout: expect.stringContaining('up to date') });
  });
});

describe('errand verify', () => {
  it('ends with 1 and a table when a room holds a task that does not exist', async () => {
    const broken = await createTestDatabase();
    const sql = postgres(broken.url, { max: 1 });
    await sql`
      insert into errand.ready (shard, queue, rank, seq, task, step, attempt, due_at)
      values (0, 1, 0, 1, '0198c0de-0000-7000-8000-000000000001', 0, 0, now())
    `;
    await sql.end();
    const { code, stdout, stderr } = await runErrand(['verify'], { DATABASE_URL: broken.url });
    await broken.drop();
    expect({ code, stderr }).toEqual({ code: 1, stderr: 'errand: 1 kind of problem\n' });
    expect(stdout).toMatch(/^problem +tasks +for example\nroom-without-task +1 +0198c0de0000/);
  });
});

describe('errand project', () => {
  it('makes a project once, and lists it', async () => {
    expect((await run('project', 'create', 'acme')).stdout).toBe('made project acme\n');
    expect((await run('project', 'create', 'acme')).stdout).toBe('project acme is there already\n');
    expect((await run('project', 'list')).stdout).toMatch(/^acme +\d{4}-.*\ndefault +\d{4}-/m);
  });

  it('refuses a name that cannot be one', async () => {
    const { code, stderr } = await run('project', 'create', 'Acme Inc');
    expect(code).toBe(1);
    expect(stderr).toMatch(/^errand: A project name must be 1 to 63 .*, got "Acme Inc"\n$/);
  });
});

describe('errand key', () => {
  it('makes a key that it shows alone on standard output, lists and revokes it', async () => {
    const { stdout: key } = await run('key', 'create', '--label', 'web app');
    expect(key).toMatch(/^errand_[0-9a-f]{16}_[0-9a-f]{64}\n$/);
    const [, id = ''] = key.split('_');
    const listed = (await run('key', 'list')).stdout;
    expect(listed).toMatch(
      new RegExp(`^${id} +enqueue,read,manage +\\* +\\S+Z( +-){3} +web app$`, 'm'),
    );
    expect(listed).not.toContain(key.trim());
    expect(await run('key', 'revoke', id)).toMatchObject({ code: 0 });
    expect((await run('key', 'list')).stdout).toMatch(new RegExp(`^${id} .* \\S+Z +web app$`, 'm'));
  });

  it('refuses a project and a key that are not there', async () => {
    expect((await run('key', 'create', '--project', 'nobody')).stderr).toMatch(
      /^errand: There is no project nobody: /,
    );
    expect((await run('key', 'revoke', 'abc')).stderr).toMatch(
      /^errand: Project default has no key abc: /,
    );
  });
});

describe('errand openapi', () => {
  it('--check ends with 1 when the file is not what --write would write', async () => {
    const file = join(directory, 'openapi.yaml');
    expect(await runErrand(['openapi', '--write', file])).toMatchObject({ code: 0 });
    expect(await runErrand(['openapi', '--check', file])).toMatchObject({ code: 0, stderr: '' });
    await writeFile(file, `${await readFile(file, 'utf8')}# changed\n`);
    const { code, stderr } = await runErrand(['openapi', '--check', file]);
    expect(code).toBe(1);
    expect(stderr).toMatch(/is not what the code describes: run `errand openapi --write /);
  });
});

function run(...args: string[]): ReturnType<typeof runErrand> {
  return runErrand(args, { DATABASE_URL: database.url });
}
