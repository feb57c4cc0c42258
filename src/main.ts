/**
 * Composes one process from the roles it is asked to play: a database (our own or another's), the API,
 * a dispatcher. Between API and dispatcher main hands over one thing, the wake-up; all else they know of
 * each other lies in Postgres.
 */
import { hostname } from 'node:os';
import type { ApiParts } from './api/parts.ts';
import { type Config, defaultPublicUrl } from './config.ts';
import type { Dispatcher } from './dispatch/dispatcher.ts';
import type { DispatcherOptions } from './dispatch/dispatcher-options.ts';
import type { TargetRules } from './dispatch/guard.ts';
import { type HttpServer, listen } from './http-server.ts';
import type { Log } from './log.ts';
import type { Wake } from './model.ts';
import { type Cleanups, createCleanups } from './cleanups.ts';
import { insistOnLocks, type OnContended } from './store/contended.ts';
import { connect, type Database, openDatabase } from './store/database.ts';
import { createKeyring } from './store/keyring.ts';
import { databaseEndpoints } from './store/database-endpoints.ts';
import { migrate } from './store/migrate.ts';
import { checkSecrets } from './store/master-key.ts';
import { listenForWakeUps } from './store/listener.ts';
import { createNotifier } from './store/notify.ts';
import { createPartitions } from './store/partitions.ts';
import { createVault, type Vault } from './store/vault.ts';

export interface Errand {
  /** Null for a dispatcher alone, which listens nowhere. */
  url: string | null;
  /** The dispatcher, if there is one, claims nothing until `resume`; calls in flight go on. */
  pause(): void;
  /** Claims again, once a heartbeat has told what is still ours. Throws while that is not known. */
  resume(): Promise<void>;
  /** Fails readiness, drains the dispatcher, ends what is left. Safe to call twice. */
  stop(): Promise<void>;
  /** Resolves when the process can't go on by itself: its own database died. */
  failed: Promise<Error>;
}

/** Connections of each pool: a slow query of one must not make the other wait. */
const API_CONNECTIONS = 10;
const DISPATCH_CONNECTIONS = 8;
const HEARTBEAT_CONNECTIONS = 2;
/** Each process makes the coming days' partitions, so that none depends on another's housekeeping. */
const PARTITIONS_EVERY_MS = 6 * 3_600_000;

/**
 * Starts what `config.roles` asks for: the database is reachable and migrated, and the port bound, when
 * it returns. Throws ErrandErrors that say what to do.
 */
export async function startErrand(config: Config, log: Log): Promise<Errand> {
  const stack = createCleanups();
  try {
    return await compose(config, log, stack);
  } catch (error) {
    await stack.run();
    throw error;
  }
}

async function compose(config: Config, log: Log, stack: Cleanups): Promise<Errand> {
  const failure = Promise.withResolvers<Error>();
  const databaseUrl = await findDatabase(config, log, stack, failure.resolve);
  const vault = createVault(config.masterKeys);
  await prepareSchema(databaseUrl, vault, log);

  const server = config.mode === 'dispatch' ? null : await listen(config.host, config.port);
  if (server !== null) stack.defer(() => server.close());
  const url = server && defaultPublicUrl(config.host, server.port);
  const publicUrl = config.publicUrl ?? url!;

  let dispatcher: Dispatcher | null = null;
  if (config.roles.includes('dispatcher')) {
    const database = open(databaseUrl, 'errand dispatch', DISPATCH_CONNECTIONS, stack);
    const port = server?.port;
    dispatcher = await startDispatcher(config, {
      database,
      databaseUrl,
      publicUrl,
      log,
      stack,
      port,
    });
  }
  if (server !== null && config.roles.includes('api')) {
    const database = open(databaseUrl, 'errand api', API_CONNECTIONS, stack);
    await serveApi(config, server, {
      database,
      publicUrl,
      log,
      wake: createWake(database, dispatcher),
      reserve: dispatcher?.reserve,
      targetRefusal: await knownRefusal(config, databaseUrl, server.port),
    });
    keepPartitions(database, log, stack);
  }

  log.info({ url, roles: config.roles, pool: config.pool }, 'errand is up');

  let stopping: Promise<void> | null = null;
  return {
    url,
    pause: () => dispatcher?.pause(),
    resume: async () => dispatcher?.resume(),
    failed: failure.promise,
    stop() {
      stopping ??= stop();
      return stopping;
    },
  };

  async function stop(): Promise<void> {
    server?.drain();
    await dispatcher?.drain(config.drainSeconds * 1000);
    await stack.run();
  }
}

async function findDatabase(
  config: Config,
  log: Log,
  stack: Cleanups,
  onExit: (error: Error) => void,
): Promise<string> {
  if (config.databaseUrl !== null) return config.databaseUrl;
  const { startEmbeddedPostgres } = await import('./embedded/embedded-postgres.ts');
  const postgres = await startEmbeddedPostgres({
    dataDir: config.dataDir,
    log: (line) => log.info({}, line),
    onExit,
  });
  stack.defer(() => postgres.stop());
  return postgres.url;
}

async function prepareSchema(url: string, vault: Vault, log: Log): Promise<void> {
  const sql = connect({ url, connections: 1, name: 'errand migrate' });
  try {
    const onContended: OnContended = (what, code) =>
      log.warn({ what, code }, 'the schema waits for locks that others hold, trying again');
    const applied = await migrate(sql, onContended);
    for (const name of applied) log.info({ migration: name }, 'migration applied');
    await insistOnLocks('partitions', () => createPartitions(sql), onContended);
    const { unwrapped } = await checkSecrets(sql, vault);
    if (unwrapped > 0 && vault.keyId !== null) {
      log.warn({ secrets: unwrapped }, 'secrets lie unwrapped: run `errand master-key rewrap`');
    }
  } finally {
    await sql.end({ timeout: 2 });
  }
}

export function open(url: string, name: string, connections: number, stack: Cleanups): Database {
  const database = openDatabase({ url, name, connections });
  stack.defer(() => database.close());
  return database;
}

export interface DispatcherParts {
  database: Database;
  databaseUrl: string;
  publicUrl: string;
  log: Log;
  stack: Cleanups;
  /** Of our own API, which no task may be sent to. Default: there is none. */
  port?: number | undefined;
}

/** `limits`: what makes it a dispatcher for one purpose; see DispatcherOptions. */
export async function startDispatcher(
  config: Config,
  parts: DispatcherParts,
  limits: Pick<DispatcherOptions, 'onlyQueue' | 'maxDispatches'> = {},
): Promise<Dispatcher> {
  const { createDispatcher } = await import('./dispatch/dispatcher.ts');
  const { createSigningThread } = await import('./dispatch/signing-thread.ts');
  const { createSignerDirectory } = await import('./signers.ts');
  const { database, databaseUrl, publicUrl, log, stack, port } = parts;
  const vault = createVault(config.masterKeys);
  const signingThread = createSigningThread();
  stack.defer(() => signingThread.close());
  // The embedded database is guarded by its data dir: who holds it is alone, and nobody takes it for dead.
  const isSole = config.databaseUrl === null;
  const dispatcher = createDispatcher({
    database,
    heartbeats: isSole
      ? undefined
      : open(databaseUrl, 'errand heartbeat', HEARTBEAT_CONNECTIONS, stack),
    ...limits,
    pool: config.pool,
    strategy: config.strategy,
    host: hostname(),
    pid: process.pid,
    publicUrl,
    concurrency: config.concurrency,
    takeoverMs: config.takeoverSeconds * 1000,
    isSole,
    targetRules: targetRulesOf(config, databaseUrl, port),
    proxy: config.targetProxy,
    ca: config.targetCa,
    signerOf: createSignerDirectory(database, signingThread, vault),
    keyring: createKeyring(database, vault),
    log,
  });
  await dispatcher.start();
  if (config.databaseUrl !== null) {
    const listener = await listenForWakeUps({
      url: config.listenUrl ?? databaseUrl,
      database,
      onWakeUps: (wakeUps) => void dispatcher.wake(wakeUps),
      onGap: () => dispatcher.lookNow(),
      onHearing: (isHearing) => tellHearing(isHearing, log),
    });
    stack.defer(() => listener.close());
  }
  return dispatcher;
}

const DEAF =
  'notifications do not arrive, as behind a pooler in transaction mode: what other processes enqueue is found by looking, within 300 ms; set ERRAND_LISTEN_URL to Postgres itself';

function tellHearing(isHearing: boolean, log: Log): void {
  if (isHearing) log.info({}, 'notifications arrive again');
  else log.warn({}, DEAF);
}

function targetRulesOf(config: Config, databaseUrl: string, port?: number): TargetRules {
  const own = port === undefined ? [] : [{ host: config.host, port }];
  const databases = config.listenUrl === null ? [databaseUrl] : [databaseUrl, config.listenUrl];
  return {
    allow: config.mode === 'dev' ? [...config.targetAllow, 'http'] : config.targetAllow,
    refusedEndpoints: [...own, ...databases.flatMap(databaseEndpoints)],
  };
}

/**
 * The rules as far as they can be told before a task is even taken: of our own pool's queues, for the
 * dispatchers of other pools have rules of their own, and not where a proxy is to resolve the names.
 */
async function knownRefusal(
  config: Config,
  databaseUrl: string,
  port: number,
): Promise<(url: URL, pool: string) => string | null> {
  if (!config.roles.includes('dispatcher') || config.targetProxy !== null) return () => null;
  const { createTargetGuard } = await import('./dispatch/guard.ts');
  const guard = createTargetGuard(targetRulesOf(config, databaseUrl, port));
  return (url, pool) => (pool === config.pool ? guard.refusal(url) : null);
}

/** A task of our own shards is told directly; of the others, their owners hear through Postgres. */
function createWake(database: Database, dispatcher: Dispatcher | null): Wake {
  const notify = createNotifier(database);
  return (wakeUps) => {
    const foreign = dispatcher === null ? wakeUps : dispatcher.wake(wakeUps);
    if (foreign.length > 0) notify(foreign);
  };
}

async function serveApi(
  config: Config,
  server: HttpServer,
  parts: Pick<ApiParts, 'database' | 'publicUrl' | 'log' | 'wake' | 'reserve' | 'targetRefusal'>,
): Promise<void> {
  const { createApi } = await import('./api/app.ts');
  const { isReachable } = await import('./store/health.ts');
  const api = createApi({
    ...parts,
    adminKey: config.adminKey!,
    vault: createVault(config.masterKeys),
    isDevelopment: config.mode === 'dev',
    async isReady() {
      if (server.isDraining()) return { ready: false, reason: 'shutting down' };
      if (await isReachable(parts.database)) return { ready: true };
      return { ready: false, reason: 'the database is not reachable' };
    },
  });
  server.handle(api.fetch);
}

function keepPartitions(database: Database, log: Log, stack: Cleanups): void {
  const timer = setInterval(() => {
    database
      .run((sql) => createPartitions(sql), { timeoutMs: 30_000 })
      .catch((error) => log.warn({ code: error?.code }, 'partitions not made, trying again later'));
  }, PARTITIONS_EVERY_MS);
  stack.defer(() => clearInterval(timer));
}
