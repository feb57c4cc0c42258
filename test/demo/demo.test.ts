import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync } from 'node:fs';
import { mkdtemp, readdir, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, describe, expect, it } from 'vitest';
import { makeTree, regularPaths } from './tree.ts';

const MAIN = join(import.meta.dirname, '../../examples/demo/main.ts');
const removals: (() => Promise<void>)[] = [];
afterEach(async () => {
  for (const remove of removals.splice(0)) await remove();
});

/** The demo as a process, whose temporary files go to a folder of the test's own. */
async function startDemo(...options: string[]) {
  const tree = await makeTree(regularPaths(300, 4));
  const temporary = await mkdtemp(join(tmpdir(), 'errand-demo-test-'));
  removals.push(tree.remove, () => rm(temporary, { recursive: true, force: true }));
  const args = ['--conditions=errand-source', MAIN, '--dir', tree.root, ...options];
  const child = spawn(process.execPath, args, {
    env: { ...process.env, TMPDIR: temporary },
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  let output = '';
  const heard = (chunk: Buffer): void => {
    output += chunk.toString();
    child.emit('heard');
  };
  child.stdout.on('data', heard);
  child.stderr.on('data', heard);
  const until = async (text: string): Promise<void> => {
    while (!output.includes(text)) await once(child, 'heard');
  };
  return {
    child,
    root: tree.root,
    temporary,
    output: () => output,
    until,
    closed: once(child, 'close'),
  };
}

describe('npm run demo', () => {
  it('exits with 0, shows the table, and leaves nothing behind', async () => {
    const { closed, output, temporary } = await startDemo();
    const [code] = await closed;
    expect(code, output()).toBe(0);
    expect(output()).toMatch(/^ {2}Tasks +303 /m);
    expect(retriesIn(output())).toBeGreaterThan(10);
    expect(output()).toMatch(/^ {2}Tasks per second +\d+$/m);
    expect(output()).toMatch(/^ {2}Latency p99 +-?[\d.]+ ms$/m);
    expect(output()).toContain('Equal to a straight run: 1,200 checksums');
    expect(output()).not.toContain('\u001b');
    expect(await readdir(temporary)).toEqual([]);
  }, 90_000);

  it('exits with 1 and says the difference when the result is not that of a straight run', async () => {
    const { closed, output, root, until } = await startDemo();
    await until('100 %');
    await writeFile(join(root, 'late.txt'), 'This came after the walk\n');
    expect(await closed, output()).toEqual([1, null]);
    expect(output()).toContain('DIFFERENT from a straight run:\n  missing: late.txt\n');
  }, 90_000);

  it('--keep leaves everything running until it is interrupted', async () => {
    const { child, closed, output, temporary, until } = await startDemo('--keep');
    await until('data ');
    const url = /service +(http:\S+) +\(docs/.exec(output())?.[1] ?? '';
    expect((await fetch(`${url}/readyz`)).status).toBe(200);
    child.kill('SIGINT');
    expect(await closed).toEqual([130, null]);
    expect(await readdir(temporary)).toEqual([]);
    await expect(fetch(url)).rejects.toThrow();
  }, 90_000);

  it('stops everything when it is interrupted at the start', async () => {
    const { child, closed, output, temporary, until } = await startDemo();
    await until('Errand demo');
    child.kill('SIGINT');
    await until('Stopping');
    child.kill('SIGINT'); // As under npm, which passes on what the terminal sends to all.
    expect(await closed, output()).toEqual([130, null]);
    expect(existsSync(temporary)).toBe(true);
    expect(await readdir(temporary)).toEqual([]);
    expect(output()).not.toContain('Error');
  }, 90_000);
});

function retriesIn(output: string): number {
  return Number(/^ {2}Retries +([\d,]+) /m.exec(output)?.[1]?.replace(',', ''));
}
