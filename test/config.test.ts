import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import {
  ConfigError,
  defaultPublicUrl,
  type Environment,
  type Flags,
  readConfig,
  readDatabaseConfig,
} from '../src/config.ts';

const KEY = 'a-key-of-24-characters-x';
const DATABASE_URL = 'postgres://user:password@db.example:5432/app';
const SERVE = { DATABASE_URL, ERRAND_ADMIN_KEY: KEY };

/** Self-signed, of a key that was thrown away. */
const CERTIFICATE = `-----BEGIN CERTIFICATE-----
MIIBfzCCASWgAwIBAgIUCU2lBrmah+dwMmaqSAUNM+B4qfYwCgYIKoZIzj0EAwIw
FDESMBAGA1UEAwwJVGVzdCByb290MCAXDTI2MTEyMTA4MjY1MloYDzIxMjYxMDI4
MDgyNjUyWjAUMRIwEAYDVQQDDAlUZXN0IHJvb3QwWTATBgcqhkjOPQIBBggqhkjO
PQMBBwNCAASTpolHreeFstXVmySkz4GIEU0G63LMze7hPHm0rZat3Wrw//aGaX37
Rhxxo0v6LVVxOrOF6C0mnnMDSV/UbStCo1MwUTAdBgNVHQ4EFgQU26LsrNLWRv9L
6bRpmD90bC82yZAwHwYDVR0jBBgwFoAU26LsrNLWRv9L6bRpmD90bC82yZAwDwYD
VR0TAQH/BAUwAwEB/zAKBggqhkjOPQQDAgNIADBFAiEA1owkTedssTYQLs2RV1oE
SRfeN2NFaydNQk+3LG9CUVwCIAkfLHZfUamWLH3xowi9Wm4ACP4rdnV7DTShXVRa
Suao
-----END CERTIFICATE-----
`;

let directory: string;
let pemFile: string;
let textFile: string;

beforeAll(async () => {
  directory = await mkdtemp(join(tmpdir(), 'errand-config-'));
  pemFile = join(directory, 'ca.pem');
  textFile = join(directory, 'notes.txt');
  await writeFile(pemFile, `A root, for tests\n${CERTIFICATE}`);
  await writeFile(textFile, 'no certificate here');
});

afterAll(() => rm(directory, { recursive: true, force: true }));

describe('readConfig()', () => {
  it('gives the documented defaults in dev, where loopback is allowed', () => {
    expect(readConfig({}, { mode: 'dev' })).toEqual({
      mode: 'dev',
      databaseUrl: null,
      listenUrl: null,
      dataDir: resolve('.errand'),
      host: '127.0.0.1',
      port: 8484,
      publicUrl: 'http://127.0.0.1:8484',
      roles: ['api', 'dispatcher', 'scheduler', 'dashboard'],
      adminKey: null,
      masterKeys: [],
      pool: 'default',
      strategy: 'weighted',
      concurrency: 128,
      drainSeconds: 10,
      takeoverSeconds: 10,
      targetAllow: ['loopback'],
      targetProxy: null,
      targetCa: null,
      logLevel: 'info',
    });
  });

  it('allows no target beyond public space in serve', () => {
    expect(readConfig(SERVE, { mode: 'serve' })).toMatchObject({
      databaseUrl: DATABASE_URL,
      adminKey: KEY,
      targetAllow: [],
    });
  });

  it('cannot be changed afterwards', () => {
    const config = readConfig({}, { mode: 'dev' });
    const lists = [config, config.roles, config.targetAllow];
    expect(lists.map(Object.isFrozen)).toEqual([true, true, true]);
  });

  it.each([
    ['ERRAND_DATA_DIR', '/srv/errand', { dataDir: '/srv/errand' }],
    ['ERRAND_HOST', '::1', { host: '::1', publicUrl: 'http://[::1]:8484' }],
    ['ERRAND_HOST', 'errand.internal', { publicUrl: 'http://errand.internal:8484' }],
    ['ERRAND_HOST', '0.0.0.0', { host: '0.0.0.0', publicUrl: 'http://127.0.0.1:8484' }],
    ['ERRAND_PORT', '65535', { port: 65_535 }],
    ['ERRAND_PORT', ' 80 ', { port: 80 }],
    ['ERRAND_PORT', '', { port: 8484 }],
    ['ERRAND_PORT', '0', { port: 0, publicUrl: null }],
    ['ERRAND_PUBLIC_URL', 'https://q.example/', { publicUrl: 'https://q.example' }],
    ['ERRAND_PUBLIC_URL', 'https://x.example/q', { publicUrl: 'https://x.example/q' }],
    ['ERRAND_ROLES', 'dispatcher, api,api', { roles: ['dispatcher', 'api'] }],
    ['ERRAND_ADMIN_KEY', KEY, { adminKey: KEY }],
    ['ERRAND_CONCURRENCY', '10000', { concurrency: 10_000 }],
    ['ERRAND_DRAIN_SECONDS', '0', { drainSeconds: 0 }],
    ['ERRAND_DRAIN_SECONDS', '2.5', { drainSeconds: 2.5 }],
    ['ERRAND_TAKEOVER_SECONDS', '2', { takeoverSeconds: 2 }],
    [
      'ERRAND_TARGET_ALLOW',
      '10.0.0.0/8,fd00::/8,App.Internal,192.168.1.1',
      { targetAllow: ['10.0.0.0/8', 'fd00::/8', 'app.internal', '192.168.1.1', 'loopback'] },
    ],
    ['ERRAND_TARGET_PROXY', 'http://u:p@proxy:3128', { targetProxy: 'http://u:p@proxy:3128' }],
    ['ERRAND_LOG_LEVEL', 'debug', { logLevel: 'debug' }],
  ])('%s=%j is read', (name, value, expected) => {
    expect(readConfig({ [name]: value }, { mode: 'dev' })).toMatchObject(expected);
  });

  it.each([
    ['DATABASE_URL', 'mysql://db/app', 'must be a URL of the form postgres://'],
    ['DATABASE_URL', 'postgres://u:a/b#c@db/app', 'must be a URL of the form postgres://'],
    ['ERRAND_HOST', '1.2.3.999', 'must be an address or a host name to listen on, got "1.2.3.999"'],
    ['ERRAND_PORT', 'abc', 'must be an integer from 0 to 65535, got "abc"'],
    ['ERRAND_PORT', '65536', 'must be an integer from 0 to 65535, got "65536"'],
    ['ERRAND_PORT', '1e3', 'must be an integer from 0 to 65535, got "1e3"'],
    ['ERRAND_PUBLIC_URL', 'ftp://x', 'must be an http:// or https:// URL without'],
    ['ERRAND_PUBLIC_URL', 'https://x/?a=1', 'must be an http:// or https:// URL without'],
    ['ERRAND_ROLES', 'api,worker', 'must be a comma-separated list of api, dispatcher'],
    ['ERRAND_ADMIN_KEY', 'x'.repeat(23), 'must be 24 or more characters, got 23'],
    ['ERRAND_ADMIN_KEY', `${KEY}\n`, 'must be printable ASCII characters, without'],
    ['ERRAND_CONCURRENCY', '0', 'must be an integer from 1 to 10000, got "0"'],
    ['ERRAND_CONCURRENCY', '10001', 'must be an integer from 1 to 10000, got "10001"'],
    ['ERRAND_DRAIN_SECONDS', '-1', 'must be a number of seconds from 0 to 3600, got "-1"'],
    ['ERRAND_TAKEOVER_SECONDS', '1.9', 'must be a number of seconds from 2 to 300, got "1.9"'],
    ['ERRAND_TAKEOVER_SECONDS', '301', 'must be a number of seconds from 2 to 300, got "301"'],
    ['ERRAND_TARGET_ALLOW', '10.0.0.0/33', 'must be a comma-separated list of host names'],
    ['ERRAND_TARGET_ALLOW', 'fd00::/129', 'must be a comma-separated list of host names'],
    ['ERRAND_TARGET_ALLOW', 'app.internal/8', 'must be a comma-separated list of host names'],
    ['ERRAND_TARGET_ALLOW', '10.1.2.3,', 'must be a comma-separated list of host names'],
    ['ERRAND_TARGET_PROXY', 'proxy:3128', 'must be the URL of a proxy, as http://'],
    ['ERRAND_LOG_LEVEL', 'loud', 'must be one of trace, debug, info'],
  ])('%s=%j is refused', (name, value, problem) => {
    const [line, ...others] = problemsOf({ ERRAND_ADMIN_KEY: KEY, [name]: value });
    expect(line).toContain(`${name} ${problem}`);
    expect(others).toEqual([]);
  });

  it('takes the certificates out of ERRAND_TARGET_CA', () => {
    const { targetCa } = readConfig({ ERRAND_TARGET_CA: pemFile }, { mode: 'dev' });
    expect(targetCa).toBe(CERTIFICATE);
  });

  it('refuses an ERRAND_TARGET_CA that is missing or holds no certificate', () => {
    const absent = join(directory, 'absent.pem');
    expect(problemsOf({ ERRAND_TARGET_CA: absent })[0]).toMatch(
      /^ERRAND_TARGET_CA must be a readable PEM file of certificates \(ENOENT/,
    );
    expect(problemsOf({ ERRAND_TARGET_CA: textFile })[0]).toMatch(
      /^ERRAND_TARGET_CA must be a PEM file of certificates \(that file has none\)/,
    );
  });

  it('names everything that is wrong at once, by flag where a flag said it', () => {
    const env = { ERRAND_CONCURRENCY: 'many', ERRAND_PORT: '80', ERRAND_LOG_LEVL: 'info' };
    expect(problemsOf(env, { mode: 'serve', port: 'high' })).toEqual([
      '--port must be an integer from 0 to 65535, got "high"',
      'ERRAND_CONCURRENCY must be an integer from 1 to 10000, got "many"',
      'ERRAND_LOG_LEVL is not a setting of errand: did you mean ERRAND_LOG_LEVEL?',
      expect.stringMatching(/^DATABASE_URL is not set: `errand serve` needs it/),
      expect.stringMatching(/^ERRAND_ADMIN_KEY is not set: `errand serve` needs it/),
    ]);
  });

  it('never repeats a secret', () => {
    const env = { DATABASE_URL: 'x://u:hush@db', ERRAND_ADMIN_KEY: 'hush', ERRAND_PORT: 'x' };
    const proxied = { ...env, ERRAND_TARGET_PROXY: 'socks://u:hush@proxy' };
    expect(problemsOf(proxied)).toHaveLength(4);
    expect(problemsOf(proxied).join()).not.toContain('hush');
  });

  it('asks for an admin key in dev only with DATABASE_URL', () => {
    expect(problemsOf({ DATABASE_URL })).toEqual([
      expect.stringMatching(/^ERRAND_ADMIN_KEY is not set: with DATABASE_URL it must be given/),
    ]);
  });

  it('gives a dispatcher alone its one role, by flags or the environment, and asks for no key', () => {
    const flags = { mode: 'dispatch', pool: 'reports', concurrency: '7' } as const;
    const env = { DATABASE_URL, ERRAND_POOL: 'other', ERRAND_STRATEGY: 'strict-priority' };
    expect(readConfig(env, flags)).toMatchObject({
      roles: ['dispatcher'],
      pool: 'reports',
      concurrency: 7,
      strategy: 'strict-priority',
      adminKey: null,
      masterKeys: [],
      publicUrl: 'http://127.0.0.1:8484',
    });
    expect(readConfig(env, { mode: 'dispatch' }).pool).toBe('other');
  });

  it('asks a dispatcher alone for what it shares with the API', () => {
    const env = { ERRAND_PORT: '0', ERRAND_STRATEGY: 'fair' };
    expect(problemsOf(env, { mode: 'dispatch', pool: 'Reports' })).toEqual([
      '--pool must be 1 to 63 lower-case letters, digits and dashes, not a dash first, got "Reports"',
      'ERRAND_STRATEGY must be one of weighted, strict-priority, got "fair"',
      expect.stringMatching(/^DATABASE_URL is not set: a dispatcher alone needs it/),
      expect.stringMatching(/^ERRAND_PUBLIC_URL is not set: a dispatcher alone needs it/),
    ]);
  });

  it('takes a URL of several hosts, as the driver does', () => {
    const env = { ...SERVE, DATABASE_URL: 'postgres://u:p@one:5432,two:5433/app' };
    expect(readConfig(env, { mode: 'serve' }).databaseUrl).toBe(env.DATABASE_URL);
  });

  it('suggests nothing for a variable that is far from all', () => {
    expect(problemsOf({ ERRAND_COLOUR_OF_THE_SKY: 'blue' })).toEqual([
      'ERRAND_COLOUR_OF_THE_SKY is not a setting of errand: `errand serve --help` lists them',
    ]);
  });

  it("overlooks a worker's variables, and the links that Kubernetes sets for a Service", () => {
    const env = {
      ERRAND_ISSUER: 'https://q.example',
      ERRAND_PORT: 'tcp://10.96.0.7:8484',
      ERRAND_PORT_8484_TCP: 'tcp://10.96.0.7:8484',
      ERRAND_PORT_8484_TCP_PORT: '8484',
      ERRAND_SERVICE_HOST: '10.96.0.7',
      ERRAND_SERVICE_PORT_HTTP: '8484',
      ERRAND_API_PORT: 'tcp://10.96.0.8:80',
    };
    expect(readConfig(env, { mode: 'dev' }).port).toBe(8484);
  });
});

describe('readDatabaseConfig()', () => {
  it('asks for no key, but checks what is there', () => {
    expect(readDatabaseConfig({ DATABASE_URL })).toMatchObject({ databaseUrl: DATABASE_URL });
    expect(() => readDatabaseConfig({ ERRAND_PORT: 'x' })).toThrow(ConfigError);
  });
});

describe('defaultPublicUrl()', () => {
  it.each([
    ['127.0.0.1', 8484, 'http://127.0.0.1:8484'],
    ['::', 80, 'http://[::1]:80'],
    ['127.0.0.1', 0, null],
  ])('of %s and %i is %s', (host, port, expected) => {
    expect(defaultPublicUrl(host, port)).toBe(expected);
  });
});

function problemsOf(env: Environment, flags: Flags = { mode: 'dev' }): readonly string[] {
  try {
    readConfig(env, flags);
  } catch (error) {
    if (error instanceof ConfigError) return error.problems;
    throw error;
  }
  return [];
}
