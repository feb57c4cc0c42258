import { execFileSync } from 'node:child_process';
import { mkdtemp, readFile, rm, stat } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { startTarget } from '../support/target.ts';
import { until } from '../support/until.ts';
import { type ErrandProcess, runErrand, spawnErrand } from './errand-process.ts';

let dataDir: string;
let running: ErrandProcess | null = null;

beforeAll(async () => {
  dataDir = await mkdtemp(join(tmpdir(), 'errand-dev-'));
});

afterEach(async () => {
  running?.child.kill('SIGKILL');
  await running?.ended;
  running = null;
});

afterAll(() => rm(dataDir, { recursive: true, force: true, maxRetries: 20 }));

describe('errand dev', () => {
  it('prints two commands to paste: a task, and that it succeeded', async () => {
    const errand = await startDev();
    const [first, second] = pastable(errand.stdout());
    expect(await paste(first)).toMatchObject({ queue: 'default' });
    const items = await until(async () => {
      const list = await paste(second);
      return list.items[0]?.state === 'succeeded' ? list.items : null;
    });
    expect(items).toEqual([expect.objectContaining({ method: 'POST', lastStatus: 200 })]);
    expect(await stop(errand)).toBe(0);
    expect(processesNaming(dataDir)).toEqual([]);
  });

  it('shows the admin key once, keeps it 0600, and prints commands that work again', async () => {
    const first = await startDev();
    await stop(first);
    const again = await startDev();
    const file = join(dataDir, 'admin-key');
    const key = (await readFile(file, 'utf8')).trim();
    expect((await stat(file)).mode & 0o777).toBe(0o600);
    expect(again.stdout()).not.toContain(key);
    expect(again.stdout()).toContain(`kept in ${file}`);
    const list = await paste(pastable(again.stdout())[1]);
    expect(list).toHaveProperty('items');
  });

  it('is visited by the other commands while it runs', async () => {
    await startDev();
    const { code, stdout } = await runErrand(['verify'], { ERRAND_DATA_DIR: dataDir });
    expect(code).toBe(0);
    expect(stdout).toMatch(/^\d+ tasks?, no problems\n$/);
  });

  it('drains at the first signal, and ends with 130 at once at a second', async () => {
    const target = await startTarget(() => new Promise(() => {}));
    const errand = await startDev();
    const [first] = pastable(errand.stdout());
    await paste(first.replace(/"url":"[^"]+"/, `"url":"${target.url}/never"`));
    await target.arrived(1);
    errand.child.kill('SIGTERM');
    await errand.says(/stopping/);
    const repeat = () => errand.child.kill('SIGTERM');
    await until(() => !repeat() || errand.child.exitCode !== null, { timeoutMs: 5_000 });
    expect(await errand.ended).toBe(130);
    await target.close();
  });

  it('ends with 1 and a line when its database dies', async () => {
    const errand = await startDev();
    const server = processesNaming(dataDir).find(({ line }) => /\/postgres -D/.test(line));
    process.kill(server!.pid, 'SIGQUIT');
    expect(await errand.ended).toBe(1);
    expect(errand.stderr()).toMatch(/^errand: PostgreSQL ended by itself/m);
  });
});

async function startDev(): Promise<ErrandProcess> {
  running = spawnErrand(['dev', '--port', '0', '--data-dir', dataDir]);
  await running.says(/and see what became of it:\s+curl .*\n\n/);
  return running;
}

function stop(errand: ErrandProcess): Promise<number | null> {
  errand.child.kill('SIGINT');
  return errand.ended;
}

/** The commands of the start block: lines that begin with `curl`, with what continues them. */
function pastable(text: string): [string, string] {
  const [first = '', second = ''] = text.match(/^ +curl .*(\n.*)*?[^\\](?=\n)/gm) ?? [];
  return [first, second];
}

interface TaskList {
  items: { state: string }[];
}

/** Has a shell read the command, and sends what curl would; curl itself may not be installed. */
async function paste(command: string): Promise<TaskList> {
  const script = `curl() { printf '%s\\0' "$@"; }\n${command}`;
  const words = execFileSync('sh', ['-c', script], { encoding: 'utf8' }).split('\0').slice(0, -1);
  const request = { method: 'GET', headers: new Headers(), body: undefined as string | undefined };
  let url = '';
  for (let word = words.shift(); word !== undefined; word = words.shift()) {
    if (word === '-X') request.method = words.shift()!;
    else if (word === '-d') request.body = words.shift()!;
    else if (word === '-H') request.headers.append(...splitHeader(words.shift()!));
    else url = word;
  }
  const response = await fetch(url, request);
  if (!response.ok) throw new Error(`${request.method} ${url}: ${await response.text()}`);
  return response.json() as Promise<TaskList>;
}

function splitHeader(line: string): [string, string] {
  const colon = line.indexOf(':');
  return [line.slice(0, colon), line.slice(colon + 1).trim()];
}

function processesNaming(path: string): { pid: number; line: string }[] {
  const lines = execFileSync('ps', ['-eo', 'pid=,args='], { encoding: 'utf8' }).split('\n');
  return lines
    .filter((line) => line.includes(path))
    .map((line) => ({ pid: Number.parseInt(line, 10), line }));
}
