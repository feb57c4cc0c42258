import { execFile } from 'node:child_process';
import { copyFile, mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';
import {
  type EmbeddedPostgres,
  startEmbeddedPostgres,
} from '../../src/embedded/embedded-postgres.ts';
import { connect, type Sql } from '../../src/store/database.ts';

const run = promisify(execFile);

/** A PostgreSQL that can crash, and come again at the same address. */
export interface ChaosPostgres {
  url: string;
  folder: string;
  /** A way in of our own, which no fault but the server's own end concerns. */
  sql: Sql;
  /** Ends it as a crash would, without a word or a checkpoint: it has to recover when it starts. It may have ended itself already. */
  crash(): Promise<void>;
  /** Starts it again, and waits until it takes connections. */
  start(): Promise<void>;
  stop(): Promise<void>;
}

export type Settings = Record<string, string>;

/** Durable, as in production. A second call on the same folder starts what lies there. */
export async function startPostgres(
  folder: string,
  settings: Settings = {},
): Promise<ChaosPostgres> {
  let ended = Promise.withResolvers<void>();
  let isRunning = false;
  let server: EmbeddedPostgres = await open();
  const { port, url } = server;
  const sql = connect({ url, connections: 2, name: 'chaos' });

  async function open(atPort?: number): Promise<EmbeddedPostgres> {
    ended = Promise.withResolvers<void>();
    isRunning = true;
    const onExit = () => {
      isRunning = false;
      ended.resolve();
    };
    const fixed = { dataDir: folder, settings: { max_wal_size: '256MB', ...settings }, onExit };
    return startEmbeddedPostgres(atPort === undefined ? fixed : { ...fixed, port: atPort });
  }

  return {
    url,
    folder,
    sql,
    async crash() {
      if (isRunning) process.kill(server.pid, 'SIGQUIT');
      await ended.promise;
      await server.stop();
    },
    async start() {
      // On loopback a client that knocks at the closed port may have been given that very port.
      for (let tries = 1; ; tries += 1) {
        try {
          server = await open(port);
          return;
        } catch (error) {
          if (tries === 5 || (error as { code?: string }).code !== 'embedded-postgres-port') {
            throw error;
          }
        }
      }
    },
    async stop() {
      await sql.end({ timeout: 1 });
      await server.stop();
    },
  };
}

/**
 * A primary and a standby that follows it: made from a copy of the files of a stopped server, for which
 * no program but PostgreSQL itself is needed. `via` is the address at which the standby finds its
 * primary, for a network in between.
 */
export async function startPair(
  folder: string,
  options: { isSynchronous: boolean; via?: (primaryUrl: string) => Promise<string> },
): Promise<{ primary: ChaosPostgres; standby: ChaosPostgres }> {
  const primaryFolder = join(folder, 'primary');
  const standbyFolder = join(folder, 'standby');
  await (await startPostgres(primaryFolder)).stop();
  await mkdir(standbyFolder);
  await run('cp', ['-a', join(primaryFolder, 'postgres'), join(standbyFolder, 'postgres')]);
  await run('cp', ['-a', join(primaryFolder, 'postgres-password'), standbyFolder]);
  await touchLike(join(standbyFolder, 'postgres'), 'standby.signal');

  const primary = await startPostgres(primaryFolder);
  const from = new URL((await options.via?.(primary.url)) ?? primary.url);
  const place = `host=${from.hostname} port=${from.port} user=${from.username}`;
  const standby = await startPostgres(standbyFolder, {
    primary_conninfo: `${place} password=${from.password} application_name=standby`,
    wal_receiver_timeout: '3s',
  });
  if (options.isSynchronous) {
    await primary.sql`alter system set synchronous_standby_names = 'standby'`;
    await primary.sql`select pg_reload_conf()`;
  }
  return { primary, standby };
}

/** An empty file with the owner and mode of the folder's own PG_VERSION. */
async function touchLike(folder: string, name: string): Promise<void> {
  const file = join(folder, name);
  await copyFile(join(folder, 'PG_VERSION'), file);
  await writeFile(file, '');
  await run('chown', ['--reference', join(folder, 'PG_VERSION'), file]);
}
