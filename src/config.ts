import { isIPv6 } from 'node:net';
import { z } from 'zod';
import {
  certificates,
  databaseUrl,
  dataDir,
  host,
  integer,
  masterKeys,
  LOG_LEVELS,
  list,
  oneOf,
  poolName,
  proxyUrl,
  publicUrl,
  ROLES,
  STRATEGIES,
  seconds,
  secret,
  targetAllow,
} from './config/kinds.ts';
import { explainUnknown, variablesOf } from './config/variables.ts';
import { ErrandError } from './errors.ts';
import { DEFAULT_POOL } from './model.ts';

/** `dispatch`: a dispatcher alone, without API and port. */
export type Mode = 'dev' | 'serve' | 'dispatch';
export type Role = (typeof ROLES)[number];
export type LogLevel = (typeof LOG_LEVELS)[number];

/** Everything that can be set from outside, checked once at the start and frozen. */
export interface Config {
  readonly mode: Mode;
  /** Postgres 15 or newer; null: the embedded Postgres in `dataDir`. Holds a password: never log it. */
  readonly databaseUrl: string | null;
  /** The same database past a pooler, for LISTEN alone; null: as `databaseUrl`. Holds a password: never log it. */
  readonly listenUrl: string | null;
  /** Absolute. Holds what the service makes for itself: the embedded database and the admin key. */
  readonly dataDir: string;
  readonly host: string;
  /** 0: any free port. */
  readonly port: number;
  /** Base of the token's issuer, without a slash at its end; null until bound when `port` is 0. */
  readonly publicUrl: string | null;
  readonly roles: readonly Role[];
  /** Null only in `dev` on the embedded database, where one is made at the first start. */
  readonly adminKey: string | null;
  /** 32 bytes each: the first wraps secrets in the database, all of them open. Empty: none is wrapped. */
  readonly masterKeys: readonly Uint8Array[];
  /** The dispatcher serves the queues that are set to this pool. */
  readonly pool: string;
  /** How the dispatcher shares its slots between its queues; see `QueueSettings.weight`. */
  readonly strategy: (typeof STRATEGIES)[number];
  /** Calls in flight per dispatcher, 1 to 10,000. */
  readonly concurrency: number;
  /** How long calls in flight may take to end when the process is asked to stop. */
  readonly drainSeconds: number;
  /** How long a dispatcher's heartbeat may stand still before it is taken for dead. */
  readonly takeoverSeconds: number;
  /** Host names, addresses and CIDRs beyond public space, and the word `loopback`. */
  readonly targetAllow: readonly string[];
  /** The forward proxy that calls go through. May hold a password: never log it. */
  readonly targetProxy: string | null;
  /** Certificates in PEM that targets' certificates may be signed by, besides the well-known ones. */
  readonly targetCa: string | null;
  readonly logLevel: LogLevel;
}

/** What a command line may say; it goes before the environment. */
export interface Flags {
  mode: Mode;
  host?: string;
  port?: string;
  dataDir?: string;
  pool?: string;
  concurrency?: string;
}

/** The part of the configuration that commands need which only visit the database. */
export type DatabaseConfig = Pick<Config, 'databaseUrl' | 'dataDir' | 'logLevel' | 'masterKeys'>;

export type Environment = Readonly<Record<string, string | undefined>>;

/** Some settings are wrong; the message has one line for each. */
export class ConfigError extends ErrandError {
  readonly problems: readonly string[];

  constructor(problems: readonly string[]) {
    super('invalid-config', problems.join('\n'));
    this.problems = problems;
  }
}

const SETTINGS = z.object({
  databaseUrl: databaseUrl().nullable().default(null),
  listenUrl: databaseUrl().nullable().default(null),
  dataDir: dataDir().prefault('.errand'),
  host: host().default('127.0.0.1'),
  port: integer(0, 65_535).default(8484),
  publicUrl: publicUrl().nullable().default(null),
  roles: list(oneOf(ROLES), `a comma-separated list of ${ROLES.join(', ')}`).default([...ROLES]),
  adminKey: secret(24).nullable().default(null),
  masterKeys: masterKeys().default([]),
  pool: poolName().default(DEFAULT_POOL),
  strategy: oneOf(STRATEGIES).default('weighted'),
  concurrency: integer(1, 10_000).default(128),
  drainSeconds: seconds(0, 3_600).default(10),
  takeoverSeconds: seconds(2, 300).default(10),
  targetAllow: targetAllow().default([]),
  targetProxy: proxyUrl().nullable().default(null),
  targetCa: certificates().nullable().default(null),
  logLevel: oneOf(LOG_LEVELS).default('info'),
});

type Settings = z.output<typeof SETTINGS>;

/** The environment variable of each setting. */
const VARIABLES: Record<keyof Settings, string> = {
  databaseUrl: 'DATABASE_URL',
  listenUrl: 'ERRAND_LISTEN_URL',
  dataDir: 'ERRAND_DATA_DIR',
  host: 'ERRAND_HOST',
  port: 'ERRAND_PORT',
  publicUrl: 'ERRAND_PUBLIC_URL',
  roles: 'ERRAND_ROLES',
  adminKey: 'ERRAND_ADMIN_KEY',
  masterKeys: 'ERRAND_MASTER_KEY',
  pool: 'ERRAND_POOL',
  strategy: 'ERRAND_STRATEGY',
  concurrency: 'ERRAND_CONCURRENCY',
  drainSeconds: 'ERRAND_DRAIN_SECONDS',
  takeoverSeconds: 'ERRAND_TAKEOVER_SECONDS',
  targetAllow: 'ERRAND_TARGET_ALLOW',
  targetProxy: 'ERRAND_TARGET_PROXY',
  targetCa: 'ERRAND_TARGET_CA',
  logLevel: 'ERRAND_LOG_LEVEL',
};

const FLAGS: Partial<Record<keyof Settings, string>> = {
  host: '--host',
  port: '--port',
  dataDir: '--data-dir',
  pool: '--pool',
  concurrency: '--concurrency',
};

/** Their values are never repeated in a message. */
const CONFIDENTIAL: ReadonlySet<string> = new Set([
  'databaseUrl',
  'listenUrl',
  'adminKey',
  'masterKeys',
  'targetProxy',
]);

/**
 * Reads the configuration of `errand dev`, `errand serve` and `errand dispatch`. An empty variable counts as not set.
 *
 * @throws ConfigError naming everything that is wrong: `ERRAND_PORT must be an integer from 0 to
 * 65535, got "abc"`
 * @example
 * const config = readConfig(process.env, { mode: 'serve', port: '9000' });
 */
export function readConfig(env: Environment, flags: Flags): Config {
  const { settings, problems } = readSettings(env, flags);
  const missing = MISSING[flags.mode](env);
  if (!settings || problems.length + missing.length > 0) {
    throw new ConfigError([...problems, ...missing]);
  }
  const { mode } = flags;
  const targetAllow = new Set([...settings.targetAllow, ...(mode === 'dev' ? ['loopback'] : [])]);
  return Object.freeze({
    ...settings,
    mode,
    publicUrl: settings.publicUrl ?? defaultPublicUrl(settings.host, settings.port),
    targetAllow: Object.freeze([...targetAllow]),
    roles: Object.freeze(mode === 'dispatch' ? ['dispatcher' as const] : settings.roles),
  });
}

/** The same for commands that only visit the database: no key is asked for. */
export function readDatabaseConfig(
  env: Environment,
  flags: Omit<Flags, 'mode'> = {},
): DatabaseConfig {
  const { settings, problems } = readSettings(env, flags);
  if (!settings || problems.length > 0) throw new ConfigError(problems);
  const { databaseUrl, dataDir, logLevel, masterKeys } = settings;
  return Object.freeze({ databaseUrl, dataDir, logLevel, masterKeys });
}

/** The URL of a service that was not told its own: nobody can call an unspecified address. */
export function defaultPublicUrl(host: string, port: number): string | null {
  if (port === 0) return null;
  const reachable = host === '0.0.0.0' ? '127.0.0.1' : host === '::' ? '::1' : host;
  return `http://${isIPv6(reachable) ? `[${reachable}]` : reachable}:${port}`;
}

function readSettings(
  env: Environment,
  flags: Partial<Flags>,
): { settings: Settings | null; problems: string[] } {
  const sources = Object.entries(VARIABLES).map(([setting, variable]) =>
    findSource(setting as keyof Settings, variable, env, flags),
  );
  const given = sources.filter((source) => source.value !== undefined);
  const parsed = SETTINGS.safeParse(
    Object.fromEntries(given.map(({ setting, value }) => [setting, value])),
  );
  const issues = new Map(parsed.error?.issues.map((issue) => [issue.path[0], issue.message]));
  const problems = given
    .filter(({ setting }) => issues.has(setting))
    .map(({ setting, name, value }) => {
      const got = CONFIDENTIAL.has(setting) ? '' : `, got ${JSON.stringify(value)}`;
      return `${name} must be ${issues.get(setting)}${got}`;
    });
  const unknown = explainUnknown(env, Object.values(VARIABLES));
  return { settings: parsed.data ?? null, problems: [...problems, ...unknown] };
}

function findSource(
  setting: keyof Settings,
  variable: string,
  env: Environment,
  flags: Partial<Flags>,
): { setting: keyof Settings; name: string; value: string | undefined } {
  const flag = FLAGS[setting];
  const said = flags[setting as keyof Flags];
  if (flag && said !== undefined) return { setting, name: flag, value: said };
  return { setting, name: variable, value: variablesOf(env)[variable] };
}

/** What each mode cannot do without. */
const MISSING: Record<Mode, (env: Environment) => string[]> = {
  dev: findMissingKey,
  serve: findMissing,
  dispatch: findMissingDatabase,
};

function findMissing(env: Environment): string[] {
  const variables = variablesOf(env);
  const missing = [
    ['DATABASE_URL', 'a postgres:// URL'],
    ['ERRAND_ADMIN_KEY', 'a secret of 24 or more characters'],
  ].filter(([name]) => variables[name!] === undefined);
  return missing.map(
    ([name, what]) =>
      `${name} is not set: \`errand serve\` needs it (${what}); to try errand out, run \`errand dev\``,
  );
}

function findMissingDatabase(env: Environment): string[] {
  const { DATABASE_URL, ERRAND_PORT, ERRAND_PUBLIC_URL } = variablesOf(env);
  const missing: string[] = [];
  if (DATABASE_URL === undefined) {
    missing.push(
      'DATABASE_URL is not set: a dispatcher alone needs it (a postgres:// URL), to share the database of the API',
    );
  }
  if (ERRAND_PORT?.trim() === '0' && ERRAND_PUBLIC_URL === undefined) {
    missing.push(
      'ERRAND_PUBLIC_URL is not set: a dispatcher alone needs it where ERRAND_PORT does not name the port of the API',
    );
  }
  return missing;
}

function findMissingKey(env: Environment): string[] {
  const { DATABASE_URL, ERRAND_ADMIN_KEY } = variablesOf(env);
  if (DATABASE_URL === undefined || ERRAND_ADMIN_KEY !== undefined) return [];
  return [
    'ERRAND_ADMIN_KEY is not set: with DATABASE_URL it must be given (a secret of 24 or more characters)',
  ];
}
