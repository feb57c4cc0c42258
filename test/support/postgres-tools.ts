import { spawnSync } from 'node:child_process';
import { readdirSync } from 'node:fs';
import { chmod, chown, mkdir, mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { inject } from 'vitest';
import { asAccount, findAccount } from '../../src/embedded/account.ts';
import { findPort } from '../../src/embedded/free-port.ts';
import { runProgram } from '../../src/embedded/run-program.ts';
import { startServer } from '../../src/embedded/server.ts';

/** PostgreSQL's own programs for backups, and a server that they may back up. */
export interface PostgresTools {
  /** `pg_dump`, `pg_restore` and the like, on this server. */
  run(program: string, args: string[]): Promise<void>;
  /** Of a database on the server, be it there or not. */
  urlOf(database: string): string;
  /** Where the programs may write. */
  folder: string;
  close(): Promise<void>;
}

const DEBIANS = '/usr/lib/postgresql';
/** The tests' own server; pg_dump backs up none that is newer than itself. */
const OUR_VERSION = 18;

/** Why there are none: for the name of a test that is skipped. Null when there are. */
export const toolsMissing: string | null =
  (findClient() ?? findServer())
    ? null
    : 'skipped: it needs pg_dump of PostgreSQL 18, or Debian’s package postgresql';

/** The tests' own server with the client on PATH, if that is new enough; else Debian's server. */
export async function startPostgresTools(): Promise<PostgresTools> {
  const folder = await mkdtemp(join(tmpdir(), 'errand-tools-'));
  const account = await findAccount();
  await chmod(folder, 0o755);
  const server = findClient() === null ? await startDebians(folder) : null;
  const url = new URL(server?.url ?? inject('postgresUrl'));
  const bin = server?.bin ?? '';
  return {
    folder,
    run: (program, args) => runProgram(join(bin, program), args, { account: server && account }),
    urlOf: (database) => Object.assign(new URL(url), { pathname: `/${database}` }).href,
    async close() {
      await server?.stop();
      await rm(folder, { recursive: true, force: true });
    },
  };
}

function findClient(): string | null {
  const { stdout } = spawnSync('pg_dump', ['--version'], { encoding: 'utf8' });
  const version = Number(/(\d+)\./.exec(stdout ?? '')?.[1] ?? 0);
  return version >= OUR_VERSION ? 'pg_dump' : null;
}

/** The directory with the programs of Debian's newest server. */
function findServer(): string | null {
  try {
    const versions = readdirSync(DEBIANS)
      .map(Number)
      .sort((a, b) => b - a);
    const has = (version: number) =>
      ['initdb', 'postgres', 'pg_dump', 'pg_restore'].every((program) => {
        return readdirSync(join(DEBIANS, String(version), 'bin')).includes(program);
      });
    const found = versions.find(has);
    return found === undefined ? null : join(DEBIANS, String(found), 'bin');
  } catch {
    return null; // There is no such directory.
  }
}

async function startDebians(folder: string) {
  const bin = findServer()!;
  const account = await findAccount();
  const { uid, gid } = asAccount(account);
  const directory = join(folder, 'data');
  for (const path of [directory, join(folder, 'dumps')]) {
    await mkdir(path, { mode: 0o700 });
    if (uid !== undefined && gid !== undefined) await chown(path, uid, gid);
  }
  const options = ['--username=errand', '--auth=trust', '--encoding=UTF8', '--locale=C.UTF-8'];
  await runProgram(join(bin, 'initdb'), [`--pgdata=${directory}`, ...options, '--no-sync'], {
    account,
  });
  const port = await findPort(join(folder, 'port'));
  const server = await startServer({
    program: join(bin, 'postgres'),
    account,
    directory,
    port,
    settings: { fsync: 'off', max_connections: '50' },
    logFile: join(folder, 'postgres.log'),
  });
  return { bin, stop: server.stop, url: `postgres://errand@127.0.0.1:${port}/postgres` };
}
