import { type ChildProcess, fork, spawn } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { closeSync, openSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import { endProcess, freePort, lastLines } from '../../examples/demo/service.ts';
import { createClient, type ErrandClient } from '../../src/client/index.ts';
import { startEmbeddedPostgres } from '../../src/embedded/embedded-postgres.ts';
import { connect, type Sql } from '../../src/store/database.ts';
import { PROGRAM } from '../program.ts';
import { monotonicMs, type Sighting } from './sighting.ts';

const READY_WITHIN_MS = 60_000;

/** One database, one API process and any number of dispatchers, each a process of its own. */
export interface Cluster {
  sql: Sql;
  url: string;
  key: string;
  client: ErrandClient;
  /** Starts one more, and waits until it is registered. Returns its pid. */
  startDispatcher(): Promise<number>;
  dispatcher(pid: number): ChildProcess;
  /** Those that run now. */
  dispatchers(): number[];
  /** The pid of the one that owns the queue's shard, if any does. */
  ownerOf(queue: string): Promise<number | null>;
  stop(): Promise<void>;
}

/** Keeps database and logs in `folder`; fsync is on, as in production. */
export async function startCluster(folder: string, takeoverSeconds: number): Promise<Cluster> {
  const database = await startEmbeddedPostgres({ dataDir: join(folder, 'data') });
  const key = randomBytes(24).toString('base64url');
  const url = `http://127.0.0.1:${await freePort()}`;
  const children = new Set<ChildProcess>();
  const sql = connect({ url: database.url, connections: 2, name: 'bench' });

  function start(role: string, port: string): Started {
    const logFile = join(folder, `${role}-${children.size + 1}.log`);
    const log = openSync(logFile, 'a');
    const child = spawn(process.execPath, [PROGRAM, 'serve'], {
      env: {
        PATH: process.env.PATH,
        HOME: process.env.HOME,
        DATABASE_URL: database.url,
        ERRAND_ADMIN_KEY: key,
        ERRAND_PORT: port,
        ERRAND_PUBLIC_URL: url,
        ERRAND_ROLES: role,
        ERRAND_TAKEOVER_SECONDS: String(takeoverSeconds),
        ERRAND_TARGET_ALLOW: 'loopback',
      },
      stdio: ['ignore', log, log],
    });
    closeSync(log);
    children.add(child);
    return { child, logFile };
  }

  async function until(isReady: () => Promise<boolean>, { child, logFile }: Started) {
    const endMs = performance.now() + READY_WITHIN_MS;
    while (!(await isReady())) {
      if (!isRunning(child) || performance.now() > endMs)
        throw new Error(`Not ready:\n${lastLines(logFile)}`);
      await pause(50);
    }
  }

  const api = start('api', new URL(url).port);
  const isUp = () =>
    fetch(`${url}/readyz`).then(
      (answer) => answer.ok,
      () => false,
    );
  await until(isUp, api);

  return {
    sql,
    url,
    key,
    client: createClient({ url, key }),
    async startDispatcher() {
      const started = start('dispatcher', '0');
      const pid = started.child.pid!;
      await until(async () => {
        const [row] = await sql`select from errand.dispatcher where pid = ${pid}`;
        return row !== undefined;
      }, started);
      return pid;
    },
    dispatcher: (pid) => [...children].find((child) => child.pid === pid)!,
    dispatchers: () =>
      [...children].filter((child) => child !== api.child && isRunning(child)).map((c) => c.pid!),
    async ownerOf(queue) {
      const [row] = await sql<{ pid: number }[]>`
        select d.pid from errand.queue q
        join errand.ownership o on o.pool = q.pool and o.shard = q.shard
        join errand.dispatcher d on d.id = o.dispatcher
        where q.name = ${queue} and q.deleted_at is null`;
      return row?.pid ?? null;
    },
    async stop() {
      // One that is frozen could not hear the request to end.
      for (const child of children) child.kill('SIGCONT');
      await Promise.all([...children].map((child) => endProcess(child, 'SIGTERM')));
      await sql.end({ timeout: 2 });
      await database.stop();
    },
  };
}

interface Started {
  child: ChildProcess;
  logFile: string;
}

function isRunning(child: ChildProcess): boolean {
  return child.exitCode === null && child.signalCode === null;
}

export interface Target {
  url: string;
  sighting(): Promise<Sighting>;
  /** Begins anew. */
  forget(): void;
  stop(): void;
}

export async function startTarget(): Promise<Target> {
  const child = fork(new URL('./target.ts', import.meta.url), { serialization: 'advanced' });
  const [port] = await once(child, 'message');
  return {
    url: `http://127.0.0.1:${port}`,
    async sighting() {
      const answer = once(child, 'message');
      const askedMs = monotonicMs();
      child.send('report');
      const [sighting] = (await answer) as [Sighting];
      if (!(askedMs <= sighting.nowMs && sighting.nowMs <= monotonicMs()))
        throw new Error('The target goes by another clock: its stamps say nothing about ours');
      return sighting;
    },
    forget: () => void child.send('forget'),
    stop: () => child.disconnect(),
  };
}
