import type { ChildProcess } from 'node:child_process';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { SignedAttempt, Signer } from '../support/sign.ts';
import { createSigner, WORKER_URL } from '../support/sign.ts';

const root = join(import.meta.dirname, '../..');
const TARGET = `${WORKER_URL}/tasks/greet`;

let signer: Signer;
beforeAll(async () => {
  signer = await createSigner();
});
afterAll(() => signer.close());

/** Runs an example as its reader would, and waits until it says where it listens. */
async function start(name: string): Promise<{ child: ChildProcess; url: string }> {
  const main = join(root, 'examples', name, 'main.ts');
  const child = spawn(process.execPath, ['--conditions=errand-source', main], {
    cwd: root,
    env: { PATH: '', PORT: '0', ERRAND_ISSUER: signer.issuer, ERRAND_WORKER_URL: WORKER_URL },
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  for await (const line of createInterface({ input: child.stdout! })) {
    const match = /^listening on (http\S+)$/.exec(line);
    if (match !== null) return { child, url: match[1]! };
  }
  throw new Error(`examples/${name} ended before it was listening`);
}

async function dispatch(url: string, { method, headers, body }: SignedAttempt) {
  const response = await fetch(url, { method, headers, body });
  const outcome = response.headers.get('errand-outcome');
  return { status: response.status, outcome, text: await response.text() };
}

describe.each([
  ['node-http', 'Ada', null, 'Hello Ada'],
  ['express', 'Ada', null, 'Hello Ada'],
  ['fastify', 'Ada', null, 'Hello Ada'],
  ['hono', '{"name":"Ada"}', null, '{"greeting":"Hello Ada"}'],
  ['web', '', 'continue', '{"payload":"{\\"cursor\\":10,\\"done\\":10}","progress":40}'],
])('examples/%s', (name, body, outcome, text) => {
  let child: ChildProcess;
  let url: string;
  beforeAll(async () => {
    ({ child, url } = await start(name));
  });
  afterAll(async () => {
    child.kill();
    if (child.exitCode === null && child.signalCode === null) await once(child, 'exit');
  });

  test('takes a signed request', async () => {
    const signed = await signer.sign({ url: TARGET, body });
    expect(await dispatch(url, signed)).toEqual({ status: 200, outcome, text });
  });

  test('refuses a request whose body was altered, and one without a token', async () => {
    const signed = await signer.sign({ url: TARGET, body: `${body} ` });
    const altered = { ...signed, body: new TextEncoder().encode('Eve') };
    expect((await dispatch(url, altered)).status).toBe(401);
    const headers = { 'errand-authorization': null, authorization: null };
    const bare = await signer.sign({ url: TARGET, body, headers });
    expect((await dispatch(url, bare)).status).toBe(401);
  });
});
