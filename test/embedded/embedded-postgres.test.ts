import { type ChildProcess, execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { chmod, mkdtemp, readFile, realpath, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import postgres from 'postgres';
import { afterAll, afterEach, beforeAll, describe, expect, it, vi } from 'vitest';
import {
  type EmbeddedPostgres,
  startEmbeddedPostgres,
} from '../../src/embedded/embedded-postgres.ts';
import type { ErrandError } from '../../src/errors.ts';

const settings = { fsync: 'off' };
let home: string;
let dataDir: string;
const databases: EmbeddedPostgres[] = [];
const owners: ChildProcess[] = [];

beforeAll(async () => {
  home = await realpath(await mkdtemp(join(tmpdir(), 'errand-embedded-')));
  await chmod(home, 0o755); // Root's PostgreSQL runs as another user, who must get through.
  dataDir = join(home, 'a path with spaces');
});

afterEach(async () => {
  for (const owner of owners.splice(0)) owner.kill('SIGKILL');
  await Promise.all(databases.splice(0).map((database) => database.stop()));
});

afterAll(() => rm(home, { recursive: true, force: true }));

describe('startEmbeddedPostgres()', () => {
  it('stop() leaves no process, and the next start finds data and port again', async () => {
    const first = await start();
    await query(first.url, 'create table kept as select 42 as answer');
    await first.stop();
    expect(processesNaming(dataDir)).toEqual([]);
    const second = await start({ port: first.port });
    expect(await query(second.url, 'select answer from kept')).toEqual([{ answer: 42 }]);
    await second.stop();
    expect((await start()).port).toBe(first.port);
  });

  it('asks for the password, which only its owner can read', async () => {
    const { url } = await start();
    const { mode } = await stat(join(dataDir, 'postgres-password'));
    expect(mode & 0o077).toBe(0);
    const stranger = url.replace(/:[^:@]+@/, ':guessed@');
    await expect(query(stranger, 'select 1')).rejects.toMatchObject({ code: '28P01' });
  });

  it('runs durably unless told otherwise', async () => {
    const database = await start({ settings: {} });
    const shown = await query(database.url, 'show fsync');
    expect(shown).toEqual([{ fsync: 'on' }]);
  });

  it('ends with its owner when that is killed, and starts again with its data', async () => {
    const { owner, told } = await startOwner();
    await query(told.url, 'create table survivor as select 7 as number');
    owner.kill('SIGKILL');
    await vi.waitFor(() => expect(processesNaming(dataDir)).toEqual([]), 10_000);
    const again = await start();
    expect(await query(again.url, 'select number from survivor')).toEqual([{ number: 7 }]);
  });

  it('runs in a process group of its own, where no Ctrl-C reaches it', async () => {
    const { owner, told } = await startOwner();
    const group = execFileSync('ps', ['-o', 'pgid=', '-p', String(told.pid)], { encoding: 'utf8' });
    expect(Number(group)).toBe(told.pid);
    expect(Number(group)).not.toBe(owner.pid);
  });

  it('stops a server that was left behind when the watcher died too', async () => {
    const { owner, told } = await startOwner();
    const watcher = processesNaming(dataDir).find(({ line }) => line.endsWith(` ${told.pid}`));
    process.kill(watcher!.pid, 'SIGKILL');
    owner.kill('SIGKILL');
    await once(owner, 'exit');
    const log = vi.fn();
    const again = await start({ log });
    expect(log).toHaveBeenCalledWith(expect.stringContaining(`pid ${told.pid}`));
    const servers = processesNaming(dataDir).filter(({ line }) => !line.includes('watcher'));
    expect(servers.map(({ pid }) => pid)).toEqual([again.pid]);
  });

  it('starts although the pid that a killed server noted is another program now', async () => {
    const { stop } = await start();
    await stop();
    await writeFile(join(dataDir, 'postgres', 'postmaster.pid'), `${process.ppid}\n`);
    await start();
    expect(process.kill(process.ppid, 0)).toBe(true);
  });

  it('refuses a data dir that another errand runs on, and names its pid', async () => {
    const { owner, told } = await startOwner();
    await expect(start()).rejects.toMatchObject({
      code: 'data-dir-in-use',
      message: expect.stringContaining(`running on ${dataDir} (pid ${owner.pid})`),
    });
    expect(await query(told.url, 'select 1 as one')).toEqual([{ one: 1 }]);
  });

  it('makes a new password when the old one was lost', async () => {
    const first = await start();
    await first.stop();
    await rm(join(dataDir, 'postgres-password'));
    const second = await start();
    expect(second.url).not.toBe(first.url);
    expect(await query(second.url, 'select 1 as one')).toEqual([{ one: 1 }]);
  });

  it('lets exactly one of several win that start at once', async () => {
    const starts = await Promise.allSettled([start(), start(), start()]);
    const lost = starts.filter((each) => each.status === 'rejected');
    expect(lost.map((each) => each.reason.code)).toEqual(['data-dir-in-use', 'data-dir-in-use']);
  });

  it('tells onExit when the server dies, and only then', async () => {
    const onExit = vi.fn<(error: ErrandError) => void>();
    const first = await start({ onExit });
    await first.stop();
    expect(onExit).not.toHaveBeenCalled();
    const second = await start({ onExit });
    process.kill(second.pid, 'SIGQUIT');
    await vi.waitFor(() => expect(onExit).toHaveBeenCalledOnce(), 10_000);
    expect(onExit.mock.calls[0]?.[0].code).toBe('embedded-postgres-died');
  });

  it('takes another port when its own is taken, and says so when that was asked for', async () => {
    const first = await start();
    await first.stop();
    const { port } = await start({ dataDir: join(home, 'other'), port: first.port });
    await expect(start({ port })).rejects.toMatchObject({ code: 'embedded-postgres-port' });
    expect((await start()).port).not.toBe(port);
  });

  it('tells the last words of a server that does not start', async () => {
    await expect(start({ settings: { shared_buffers: 'plenty' } })).rejects.toMatchObject({
      code: 'embedded-postgres-failed',
      message: expect.stringContaining('invalid value for parameter "shared_buffers": "plenty"'),
    });
    expect(await readFile(join(dataDir, 'postgres.log'), 'utf8')).toContain('plenty');
    expect(processesNaming(dataDir)).toEqual([]);
  });
});

async function start(
  options: Partial<Parameters<typeof startEmbeddedPostgres>[0]> = {},
): Promise<EmbeddedPostgres> {
  const database = await startEmbeddedPostgres({ dataDir, settings, ...options });
  databases.push(database);
  return database;
}

async function startOwner(): Promise<{ owner: ChildProcess; told: { url: string; pid: number } }> {
  const script = join(import.meta.dirname, 'owner-process.ts');
  const owner = spawn(process.execPath, [script, dataDir], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  owners.push(owner);
  const [line] = await once(owner.stdout!, 'data');
  return { owner, told: JSON.parse(line) };
}

async function query(url: string, statement: string): Promise<unknown[]> {
  const sql = postgres(url, { max: 1 });
  try {
    return [...(await sql.unsafe(statement))];
  } finally {
    await sql.end();
  }
}

/** What runs with `path` on its command line: the server and its watcher. */
function processesNaming(path: string): { pid: number; line: string }[] {
  const lines = execFileSync('ps', ['-eo', 'pid=,args='], { encoding: 'utf8' }).split('\n');
  return lines
    .filter((line) => line.includes(path) && !line.includes('owner-process'))
    .map((line) => ({ pid: Number.parseInt(line, 10), line }));
}
