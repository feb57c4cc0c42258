import { randomBytes } from 'node:crypto';
import postgres, { type Sql } from 'postgres';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { makeSigningKey } from '../../src/api/signing-key.ts';
import { ensureSigningKey } from '../../src/store/signing-key.ts';
import { masterKeyId } from '../../src/store/vault.ts';
import { createTestDatabase, type TestDatabase } from '../support/database.ts';
import { runErrand, spawnErrand } from './errand-process.ts';

const [OLD, NEW] = [randomBytes(32).toString('base64'), randomBytes(32).toString('hex')];

let database: TestDatabase;
let sql: Sql;

beforeAll(async () => {
  database = await createTestDatabase();
  sql = postgres(database.url, { max: 1, onnotice: () => {} });
});
afterAll(async () => {
  await sql.end();
  await database.drop();
});

const run = (args: string[], env: Record<string, string> = {}) =>
  runErrand(args, { DATABASE_URL: database.url, ...env });

describe('errand key create', () => {
  it('limits a key to scopes, queues and a time', async () => {
    const limits = ['--scopes', 'enqueue,read', '--queues', 'mail-*,sms', '--expires', '90d'];
    const { stdout } = await run(['key', 'create', ...limits]);
    const id = stdout.split('_')[1]!;
    const [row] = await sql`select scopes, queues, expires_at - created_at as good_for
      from errand.api_key where id = ${id}`;
    expect(row).toEqual({
      scopes: ['enqueue', 'read'],
      queues: ['mail-*', 'sms'],
      good_for: '90 days',
    });
    const listed = (await run(['key', 'list'])).stdout;
    expect(listed).toMatch(
      new RegExp(`^${id} +enqueue,read +mail-\\*,sms +\\S+Z +\\S+Z +- +-$`, 'm'),
    );
  });

  it.each([
    [['--scopes', 'enqueue,all'], /some of enqueue,read,manage,admin/],
    [['--queues', '*mail'], /names of queues/],
    [['--expires', 'soon'], /a duration such as 90d/],
    [['--scopes', 'admin', '--queues', 'mail'], /must not be limited to queues/],
  ])('refuses %j', async (args, message) => {
    const { code, stderr, stdout } = await run(['key', 'create', ...args]);
    expect([code, stdout]).toEqual([1, '']);
    expect(stderr).toMatch(message);
  });
});

describe('errand project set', () => {
  it('changes quotas, and lifts them', async () => {
    const args = ['--max-backlog', '100', '--max-enqueues-per-second', '2.5'];
    expect((await run(['project', 'set', 'default', ...args])).stdout).toMatch(/ 100 +2.5 +-$/m);
    const lifted = await run(['project', 'set', 'default', '--max-backlog', 'none']);
    expect(lifted.stdout).toMatch(/ - +2.5 +-$/m);
    const { code, stderr } = await run(['project', 'set', 'nobody']);
    expect([code, stderr]).toEqual([1, expect.stringContaining('There is no project nobody')]);
  });

  it('has payloads encrypted, with the same key until another is asked for', async () => {
    const encrypt = (mode: string, env = { ERRAND_MASTER_KEY: OLD }) =>
      run(['project', 'set', 'default', '--encrypt-payloads', mode], env);
    const key = async () =>
      (await sql`select data_key from errand.project where name = 'default'`)[0]!.data_key;
    const refused = await run(['project', 'set', 'default', '--encrypt-payloads', 'on']);
    expect([refused.code, refused.stdout]).toEqual([1, '']);
    expect(refused.stderr).toMatch(/^errand: ERRAND_MASTER_KEY must have the key .* not set/);
    expect(await key()).toBeNull();
    expect((await encrypt('on')).stdout).toMatch(/^default +\S+Z +yes /m);
    const first = await key();
    await encrypt('on');
    expect(await key()).toBe(first);
    await encrypt('new-key');
    expect(await key()).toBeGreaterThan(first);
    expect((await encrypt('off')).stdout).toMatch(/^default +\S+Z +no /m);
    expect((await encrypt('perhaps')).stderr).toMatch(/on, off, new-key/);
    await sql`delete from errand.data_key`;
  });
});

describe('errand signing-key', () => {
  it('publishes a key an hour before it signs, and revokes one at once', async () => {
    const first = await ensureSigningKey(sql, 'default', () => makeSigningKey('EdDSA'));
    const { stdout, stderr } = await run(['signing-key', 'rotate']);
    const [, kid = '', from = ''] = /^key (\S+) is published, and signs from (\S+)\n$/.exec(
      stdout,
    )!;
    expect(new Date(from).getTime() - Date.now()).toBeGreaterThan(3_500_000);
    expect(stderr).toBe('');
    const listed = (await run(['signing-key', 'list'])).stdout;
    expect(listed).toMatch(new RegExp(`^${kid} +EdDSA +published `, 'm'));
    expect(listed).toMatch(new RegExp(`^${first.kid} +EdDSA +signing +the start `, 'm'));

    expect((await run(['signing-key', 'revoke', first.kid])).stdout).toBe(
      `revoked key ${first.kid}\n`,
    );
    const after = (await run(['signing-key', 'list'])).stdout;
    expect(after).toMatch(new RegExp(`^${first.kid} +EdDSA +revoked `, 'm'));
    expect(after).toMatch(/ signing +\d{4}-/);
    expect((await run(['signing-key', 'revoke', first.kid])).stderr).toMatch(
      /has no key .* in use/,
    );
  });

  it('says what comes of a key that nobody can know yet', async () => {
    const { stderr } = await run(['signing-key', 'rotate', '--now', '--algorithm', 'ES256']);
    expect(stderr).toMatch(/^workers may cache the keys for 300 s/);
    expect((await run(['signing-key', 'rotate', '--project', 'nobody'])).stderr).toMatch(
      /no project/,
    );
  });
});

describe('errand master-key', () => {
  it('wraps, rewraps, and has every command and process say when the key is not there', async () => {
    const [oldId, newId] = [
      masterKeyId(Buffer.from(OLD, 'base64')),
      masterKeyId(Buffer.from(NEW, 'hex')),
    ];
    expect((await run(['master-key', 'rewrap'])).stderr).toMatch(/ERRAND_MASTER_KEY .* is not set/);
    const wrapped = await run(['master-key', 'rewrap'], { ERRAND_MASTER_KEY: OLD });
    expect(wrapped.stdout).toMatch(
      new RegExp(`^wrapped [1-9]\\d* secrets with master key ${oldId}\n$`),
    );
    await run(['master-key', 'rewrap'], { ERRAND_MASTER_KEY: `${NEW},${OLD}` });
    const status = await run(['master-key', 'status'], { ERRAND_MASTER_KEY: NEW });
    expect(status.stdout).toMatch(new RegExp(`^master key +secrets\n${newId} +\\d+\n$`));
    for (const [env, got] of [
      [{}, 'it is not set'],
      [{ ERRAND_MASTER_KEY: OLD }, `it has ${oldId}`],
    ] as const) {
      const missing = `errand: ERRAND_MASTER_KEY must have the key ${newId}, which wraps secrets of this database, but ${got}`;
      expect((await run(['master-key', 'status'], { ...env })).stderr).toContain(missing);
      const service = spawnErrand(['serve'], {
        DATABASE_URL: database.url,
        ERRAND_ADMIN_KEY: 'a-key-for-tests-of-24-characters',
        ERRAND_PORT: '0',
        ...env,
      });
      expect(await service.ended).toBe(1);
      expect(service.stderr()).toContain(missing);
    }
  });

  it('gives up what a lost key wraps', async () => {
    const id = masterKeyId(Buffer.from(NEW, 'hex'));
    const { stdout } = await run(['master-key', 'abandon', id]);
    expect(stdout).toBe(
      'replaced 2 signing keys, removed the webhook secrets of 0 queues, gave up 0 data keys\n',
    );
    expect((await run(['master-key', 'status'])).stdout).toMatch(
      /^master key +secrets\nnone +1\n$/,
    );
  });

  it('gives up data keys, but leaves no project that encrypts without one', async () => {
    const wrapped = { ERRAND_MASTER_KEY: OLD };
    const encrypt = ['project', 'set', 'default', '--encrypt-payloads', 'on'];
    expect((await run(encrypt, wrapped)).code).toBe(0);
    const abandon = ['master-key', 'abandon', masterKeyId(Buffer.from(OLD, 'base64'))];
    const refused = await run(abandon);
    expect([refused.code, refused.stderr]).toEqual([
      1,
      expect.stringContaining('as project default encrypts its payloads'),
    ]);
    const { stdout } = await run(abandon, { ERRAND_MASTER_KEY: NEW });
    expect(stdout).toMatch(/, gave up 1 data keys\n$/);
    const keys = await sql`
      select k.wrapped is null as is_lost, p.name is not null as is_used from errand.data_key k
      left join errand.project p on p.data_key = k.id order by k.id`;
    expect(keys).toEqual([
      { is_lost: true, is_used: false },
      { is_lost: false, is_used: true },
    ]);
    expect((await run(['master-key', 'status'], { ERRAND_MASTER_KEY: NEW })).code).toBe(0);
  });

  it('prints a key that ERRAND_MASTER_KEY takes, and refuses what is none', async () => {
    const { stdout } = await run(['master-key', 'new']);
    expect(Buffer.from(stdout, 'base64')).toHaveLength(32);
    const { stderr } = await run(['master-key', 'rewrap'], { ERRAND_MASTER_KEY: 'too short' });
    expect(stderr).toMatch(/^errand: ERRAND_MASTER_KEY must be a key of 32 bytes in base64 or hex/);
    expect(stderr).not.toContain('too short');
  });
});
