import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { freePort } from '../../examples/demo/service.ts';
import { createTestDatabase, type TestDatabase } from '../support/database.ts';
import { until } from '../support/until.ts';
import { ADMIN_KEY, killHard, type Service, startService } from './service.ts';

const ROOT = join(import.meta.dirname, '../..');

let database: TestDatabase;
let service: Service;
let folder: string;

beforeAll(async () => {
  database = await createTestDatabase();
  service = await startService(database.url);
  // Inside the package, so that `errand/handler` is this one.
  await mkdir(join(ROOT, '.errand'), { recursive: true });
  folder = await mkdtemp(join(ROOT, '.errand/readme-'));
});

afterAll(async () => {
  await killHard(service);
  await database.drop();
  await rm(folder, { recursive: true, force: true });
});

test('README: the worker and the app run as written', async () => {
  const readme = await readFile(join(ROOT, 'README.md'), 'utf8');
  const blocks = [...readme.matchAll(/```ts\n\/\/ (\w+\.ts):.*\n([\s\S]*?)```/g)];
  expect(blocks.map(([, name]) => name)).toEqual(['worker.ts', 'app.ts']);
  const port = await freePort();
  for (const [, name, code] of blocks) {
    const text = code!
      .replaceAll('3000', String(port))
      .replace('http://127.0.0.1:8484', service.url);
    await writeFile(join(folder, name!), text);
  }

  const worker = run('worker.ts', {
    ERRAND_ISSUER: service.url,
    ERRAND_WORKER_URL: `http://127.0.0.1:${port}`,
  });
  try {
    await until(() =>
      fetch(`http://127.0.0.1:${port}`).then(
        () => true,
        () => false,
      ),
    );
    const app = run('app.ts', { ERRAND_KEY: ADMIN_KEY });
    const [code] = await once(app.child, 'close');
    expect({ code, said: app.said() }).toEqual({
      code: 0,
      said: expect.stringMatching(/^succeeded /),
    });
    expect(app.said()).toContain('10000');
    expect(worker.said().match(/500 invoices from/g)).toHaveLength(20);
  } finally {
    worker.child.kill('SIGKILL');
  }
});

function run(
  name: string,
  env: Record<string, string>,
): { child: ChildProcess; said: () => string } {
  const child = spawn(process.execPath, ['--conditions=errand-source', join(folder, name)], {
    env: { PATH: process.env.PATH, ...env },
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  let said = '';
  child.stdout.on('data', (chunk) => {
    said += chunk;
  });
  return { child, said: () => said };
}
