import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { connect } from 'node:net';
import { setTimeout as pause } from 'node:timers/promises';
import type { Cleanup } from '../examples/demo/cleanup.ts';
import { endProcess, freePort } from '../examples/demo/service.ts';
import type { Say } from './statistics.ts';

const READY_WITHIN_MS = 10_000;

export interface Redis {
  port: number;
  pid: number;
}

/**
 * Starts the redis-server of the PATH, else of Debian, on a free port with nothing on disk. Null, with a
 * word why, where there is none: then its peer is left out.
 */
export async function startRedis(say: Say, cleanup: Cleanup): Promise<Redis | null> {
  if (!(await isInstalled()) && !(await installRedis(say))) {
    say('bullmq is left out: there is no redis-server (apt-get install redis-server)');
    return null;
  }
  const port = await freePort();
  const settings = [
    '--port',
    String(port),
    '--bind',
    '127.0.0.1',
    '--save',
    '',
    '--appendonly',
    'no',
  ];
  // In a session of its own, so that Ctrl-C reaches us alone.
  const server = spawn('redis-server', settings, { cwd: '/', stdio: 'ignore', detached: true });
  cleanup.add(() => endProcess(server, 'SIGTERM'));
  await untilListening(server, port);
  return { port, pid: server.pid! };
}

async function isInstalled(): Promise<boolean> {
  return succeeds('redis-server', ['--version']);
}

/** RUNLEVEL keeps the package from starting a server of its own. */
async function installRedis(say: Say): Promise<boolean> {
  if (process.getuid?.() !== 0) return false;
  say('installing redis-server (apt-get)');
  const args = ['install', '-y', '--no-install-recommends', 'redis-server'];
  return succeeds('apt-get', args, { RUNLEVEL: '1', DEBIAN_FRONTEND: 'noninteractive' });
}

async function succeeds(
  program: string,
  args: string[],
  env: Record<string, string> = {},
): Promise<boolean> {
  const child = spawn(program, args, { stdio: 'ignore', env: { ...process.env, ...env } });
  try {
    const [code] = await once(child, 'exit');
    return code === 0;
  } catch {
    return false; // There is no such program.
  }
}

async function untilListening(server: ChildProcess, port: number): Promise<void> {
  const deadline = performance.now() + READY_WITHIN_MS;
  while (performance.now() < deadline && server.exitCode === null) {
    if (await accepts(port)) return;
    await pause(20);
  }
  throw new Error(`redis-server does not listen on port ${port}`);
}

async function accepts(port: number): Promise<boolean> {
  const socket = connect(port, '127.0.0.1');
  try {
    await once(socket, 'connect');
    return true;
  } catch {
    return false; // Nobody listens yet.
  } finally {
    socket.destroy();
  }
}
