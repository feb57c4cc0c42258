import { spawn } from 'node:child_process';
import { open, readFile, rename, rm } from 'node:fs/promises';
import { basename, join } from 'node:path';
import { setTimeout as wait } from 'node:timers/promises';
import { ErrandError } from '../errors.ts';
import { type Account, asAccount } from './account.ts';
import { identifyProcess, readCommand } from './process-identity.ts';
import { lastLines, PROGRAM_ENVIRONMENT } from './run-program.ts';
import { watchServer } from './watcher.ts';

const START_TIMEOUT_MS = 60_000;
const POLL_MS = 20;

/** How a server is asked to end, ever less politely, and how long each may take (ms). */
const ENDINGS = [
  ['SIGINT', 10_000],
  ['SIGQUIT', 10_000],
  ['SIGKILL', 5_000],
] as const;

export interface ServerOptions {
  program: string;
  account: Account | null;
  /** PostgreSQL's data directory. */
  directory: string;
  port: number;
  settings: Record<string, string>;
  /** Takes what the server says; the file of the run before is kept with `.1` at its end. */
  logFile: string;
}

export interface Server {
  pid: number;
  /** Resolves when the server has ended, with `exit status 1` or the like. */
  ended: Promise<string>;
  /** Safe to repeat. */
  stop(): Promise<void>;
}

/**
 * Starts a server and waits until it takes connections.
 * @throws ErrandError `embedded-postgres-port` when the port is taken, `embedded-postgres-failed`
 * with the last lines of its log when it ends or takes longer than a minute
 */
export async function startServer(options: ServerOptions): Promise<Server> {
  const { account, directory, logFile } = options;
  await rename(logFile, `${logFile}.1`).catch(() => {}); // There is none at the first start.
  const log = await open(logFile, 'a', 0o600);
  const child = spawn(options.program, serverArguments(options), {
    ...asAccount(account),
    cwd: '/',
    env: PROGRAM_ENVIRONMENT,
    detached: true, // A session of its own: Ctrl-C in our terminal must not reach it.
    stdio: ['ignore', log.fd, log.fd],
  });
  const ended = new Promise<string>((resolve) => {
    child.once('error', (error) => resolve(error.message));
    child.once('exit', (status, signal) => resolve(signal ?? `exit status ${status}`));
  });
  child.unref();
  await log.close();
  const { pid } = child;
  if (pid === undefined) throw await startError(options, await ended);

  const identity = await identifyProcess(pid);
  const watcher = watchServer(pid, directory, account);
  const dismissed = ended.then(() => watcher.dismiss());
  const stop = async () => {
    child.ref();
    await endProcess(pid, identity);
    await dismissed;
  };
  const failure = await Promise.race([ended, becomeReady(directory, pid)]);
  if (failure === null) return { pid, ended, stop };
  await stop();
  throw await startError(options, failure);
}

/**
 * Stops the server that an errand which was killed left behind on `directory`. The pid in its
 * postmaster.pid may be a stranger's by now, as after the restart of a container: Postgres would
 * refuse to start beside it, so the file goes. A dead pid is left to Postgres, which checks more.
 */
export async function stopLeftover(directory: string, log: (line: string) => void): Promise<void> {
  const pid = (await readPostmaster(directory))?.pid;
  const identity = pid ? await identifyProcess(pid) : null;
  if (!pid || identity === null) return;
  const [program = '', rest = ''] = (await readCommand(pid)).split(' -D ');
  if (basename(program) === 'postgres' && rest.startsWith(`${directory} `)) {
    log(`Stopping a PostgreSQL (pid ${pid}) that an earlier errand left behind`);
    await endProcess(pid, identity);
  } else {
    await rm(join(directory, 'postmaster.pid'));
  }
}

function serverArguments({ directory, port, settings }: ServerOptions): string[] {
  const own = {
    port: String(port),
    listen_addresses: '127.0.0.1',
    unix_socket_directories: '',
  };
  const pairs = Object.entries({ ...settings, ...own });
  return ['-D', directory, ...pairs.flatMap(([name, value]) => ['-c', `${name}=${value}`])];
}

/** Null when the server is ready; pg_ctl reads the same line of the same file. */
async function becomeReady(directory: string, pid: number): Promise<string | null> {
  const deadline = performance.now() + START_TIMEOUT_MS;
  while (performance.now() < deadline) {
    const postmaster = await readPostmaster(directory);
    if (postmaster?.pid === pid && postmaster.status === 'ready') return null;
    if ((await identifyProcess(pid)) === null) break;
    await wait(POLL_MS);
  }
  return 'not ready after 60 s';
}

async function readPostmaster(directory: string): Promise<{ pid: number; status: string } | null> {
  const file = await readFile(join(directory, 'postmaster.pid'), 'utf8').catch(() => null);
  if (file === null) return null;
  const lines = file.split('\n');
  return { pid: Number(lines[0]), status: (lines[7] ?? '').trim() };
}

async function startError(options: ServerOptions, failure: string): Promise<ErrandError> {
  const said = await readFile(options.logFile, 'utf8').catch(() => '');
  const isPortTaken = said.includes('could not bind');
  return new ErrandError(
    isPortTaken ? 'embedded-postgres-port' : 'embedded-postgres-failed',
    isPortTaken
      ? `PostgreSQL cannot listen on port ${options.port} of 127.0.0.1: another program does`
      : `PostgreSQL did not start (${failure}): ${lastLines(said)}`,
  );
}

/** The identity keeps a signal from a stranger who has the pid after an end that we missed. */
async function endProcess(pid: number, identity: string | null): Promise<void> {
  for (const [signal, ms] of ENDINGS) {
    if (identity === null || (await identifyProcess(pid)) !== identity) return;
    try {
      process.kill(pid, signal);
    } catch {
      return; // It has ended in between.
    }
    const deadline = performance.now() + ms;
    while (performance.now() < deadline) {
      if ((await identifyProcess(pid)) !== identity) return;
      await wait(POLL_MS);
    }
  }
  throw new ErrandError('embedded-postgres-failed', `PostgreSQL (pid ${pid}) does not end`);
}
