import { type ChildProcess, spawn } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { closeSync, openSync, readFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { join } from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';

const SOURCE = join(import.meta.dirname, '../../src/cli/errand.ts');
/** As `npm start` has it. */
const MEMORY = ['--max-semi-space-size=16'];
const READY_WITHIN_MS = 60_000;
const STOP_WITHIN_MS = 20_000;

/** `errand dev` as a child process, with a data dir, a port and a key of its own. */
export interface Service {
  url: string;
  key: string;
  logFile: string;
  pid(): number | undefined;
  /** Starts it, again if it was killed, and waits until it is ready. */
  start(): Promise<void>;
  /** Asks it to end (SIGTERM) and waits until it has. Safe to repeat. */
  stop(): Promise<void>;
  /** Ends it as a crash does (SIGKILL). */
  kill(): Promise<void>;
}

/** Keeps everything in `folder`. Nothing is started yet. */
export function createService(folder: string, port: number, program = SOURCE): Service {
  const url = `http://127.0.0.1:${port}`;
  const key = randomBytes(24).toString('base64url');
  const logFile = join(folder, 'service.log');
  const env = {
    ...strangersRemoved(process.env),
    ERRAND_DATA_DIR: join(folder, 'data'),
    ERRAND_HOST: '127.0.0.1',
    ERRAND_PORT: String(port),
    ERRAND_PUBLIC_URL: url,
    ERRAND_ADMIN_KEY: key,
    ERRAND_LOG_LEVEL: 'warn',
  };
  let child: ChildProcess | undefined;

  const end = async (signal: 'SIGTERM' | 'SIGKILL'): Promise<void> => {
    const ending = child;
    child = undefined;
    if (ending !== undefined) await endProcess(ending, signal);
  };
  return {
    url,
    key,
    logFile,
    pid: () => child?.pid,
    async start() {
      child = spawnService(program, env, logFile);
      await waitUntilReady(url, child, logFile);
    },
    stop: () => end('SIGTERM'),
    kill: () => end('SIGKILL'),
  };
}

/** The demo brings everything: what the shell says of another Errand is not for this one. */
function strangersRemoved(env: NodeJS.ProcessEnv): NodeJS.ProcessEnv {
  const isOurs = (name: string) => name !== 'DATABASE_URL' && !name.startsWith('ERRAND_');
  return Object.fromEntries(Object.entries(env).filter(([name]) => isOurs(name)));
}

/** Detached, so that Ctrl-C reaches the demo alone, which then ends everything in its order. */
function spawnService(program: string, env: NodeJS.ProcessEnv, logFile: string): ChildProcess {
  const log = openSync(logFile, 'a');
  const stdio = ['ignore', log, log] as const;
  const child = spawn(process.execPath, [...MEMORY, program, 'dev'], {
    env,
    stdio: [...stdio],
    detached: true,
  });
  closeSync(log);
  return child;
}

async function waitUntilReady(url: string, child: ChildProcess, logFile: string): Promise<void> {
  const deadline = performance.now() + READY_WITHIN_MS;
  while (performance.now() < deadline && child.exitCode === null && child.signalCode === null) {
    if (await isReady(url)) return;
    await pause(50);
  }
  throw new Error(`The service did not get ready; the end of its log:\n${lastLines(logFile)}`);
}

export function lastLines(file: string): string {
  return readFileSync(file, 'utf8').trimEnd().split('\n').slice(-20).join('\n');
}

async function isReady(url: string): Promise<boolean> {
  try {
    return (await fetch(`${url}/readyz`, { signal: AbortSignal.timeout(2_000) })).ok;
  } catch {
    // Nobody listens yet.
    return false;
  }
}

export async function endProcess(
  child: ChildProcess,
  signal: 'SIGTERM' | 'SIGKILL',
): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return;
  const exited = once(child, 'exit');
  child.kill(signal);
  const timer = setTimeout(() => child.kill('SIGKILL'), STOP_WITHIN_MS);
  await exited;
  clearTimeout(timer);
}

/** A port of the loopback that was free a moment ago. */
export async function freePort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const address = server.address();
  server.close();
  await once(server, 'close');
  if (address === null || typeof address === 'string') throw new Error('There is no free port');
  return address.port;
}
