import { generateKeyPairSync, type KeyObject } from 'node:crypto';
import { once } from 'node:events';
import type { Worker } from 'node:worker_threads';
import { CompactSign, compactVerify, exportJWK, importJWK } from 'jose';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { signatureOf } from '../../src/dispatch/signature.ts';
import { createSigningThread, type SigningThread } from '../../src/dispatch/signing-thread.ts';
import { TOKEN_ALGORITHMS, type TokenAlgorithm } from '../../src/protocol/token.ts';

const threads: SigningThread[] = [];
/** Every thread that this process started, with the messages that came from it. */
let workers: { worker: Worker; online: Promise<unknown>; answers: number }[];

beforeEach(() => {
  workers = [];
  process.on('worker', noteWorker);
});

afterEach(async () => {
  process.off('worker', noteWorker);
  await Promise.all(threads.splice(0).map((thread) => thread.close()));
});

function noteWorker(worker: Worker): void {
  const noted = { worker, online: once(worker, 'online'), answers: 0 };
  worker.on('message', () => {
    noted.answers += 1;
  });
  // A listener holds the process again.
  worker.unref();
  workers.push(noted);
}

function start(processors?: number): SigningThread {
  const thread = createSigningThread(processors);
  threads.push(thread);
  return thread;
}

function makeKeys(algorithm: TokenAlgorithm): { privateKey: KeyObject; publicKey: KeyObject } {
  switch (algorithm) {
    case 'ES256':
      return generateKeyPairSync('ec', { namedCurve: 'P-256' });
    case 'EdDSA':
      return generateKeyPairSync('ed25519');
    case 'RS256':
      return generateKeyPairSync('rsa', { modulusLength: 2048 });
  }
}

const inputOf = (algorithm: string, payload: string) =>
  [JSON.stringify({ alg: algorithm }), payload]
    .map((part) => Buffer.from(part).toString('base64url'))
    .join('.');

describe.each(TOKEN_ALGORITHMS)('signatureOf() with %s', (algorithm) => {
  test('makes what jose verifies, for numbers of any length', async () => {
    const { privateKey, publicKey } = makeKeys(algorithm);
    const key = await importJWK(await exportJWK(publicKey), algorithm);
    // Of 600 ES256 signatures four or five have a number that begins with a zero byte.
    for (let n = 0; n < 600; n += 1) {
      const input = inputOf(algorithm, `payload ${n}`);
      await compactVerify(`${input}.${signatureOf(input, algorithm, privateKey)}`, key);
    }
  });

  test('is as long as that of jose', async () => {
    const { privateKey } = makeKeys(algorithm);
    const theirs = await new CompactSign(Buffer.from('payload'))
      .setProtectedHeader({ alg: algorithm })
      .sign(privateKey);
    const ours = signatureOf(inputOf(algorithm, 'payload'), algorithm, privateKey);
    expect(ours).toHaveLength(theirs.split('.')[2]!.length);
    // Both are the same where the algorithm leaves nothing to chance.
    if (algorithm !== 'ES256') expect(ours).toBe(theirs.split('.')[2]);
  });
});

test('signatureOf() refuses an algorithm that it does not know', () => {
  const { privateKey } = makeKeys('ES256');
  expect(() => signatureOf('a.b', 'HS256', privateKey)).toThrow(
    'algorithm must be ES256, EdDSA or RS256, got HS256',
  );
});

describe('createSigningThread()', () => {
  const { privateKey, publicKey } = makeKeys('ES256');

  async function signMany(thread: SigningThread, count: number): Promise<void> {
    const inputs = Array.from({ length: count }, (_, n) => inputOf('ES256', `${count}/${n}`));
    const signatures = await Promise.all(
      inputs.map((input) => thread.sign(input, 'ES256', privateKey)),
    );
    for (const [index, input] of inputs.entries()) {
      await compactVerify(`${input}.${signatures[index]}`, publicKey);
    }
  }

  /** One whose thread is there, so that what is many goes over to it. */
  async function startOnline(): Promise<SigningThread> {
    const thread = start(2);
    await signMany(thread, 3);
    await workers.at(-1)!.online;
    return thread;
  }

  test('gives each input its own signature: few, many, and many while others are under way', async () => {
    const thread = await startOnline();
    expect(workers[0]!.answers).toBe(0);
    await signMany(thread, 1);
    expect(workers[0]!.answers).toBe(0);
    await signMany(thread, 100);
    expect(workers[0]!.answers).toBe(4);
    const first = signMany(thread, 200);
    await new Promise((resolve) => setImmediate(resolve));
    await Promise.all([first, signMany(thread, 33), signMany(thread, 2)]);
    expect(workers[0]!.answers).toBe(4 + 7 + 2);
    expect(workers).toHaveLength(1);
  });

  test('signs with each its own key, asked for in one turn', async () => {
    const other = makeKeys('EdDSA');
    const thread = await startOnline();
    const signing = Array.from({ length: 5 }, (_, n) => [
      thread.sign(inputOf('ES256', `${n}`), 'ES256', privateKey),
      thread.sign(inputOf('EdDSA', `${n}`), 'EdDSA', other.privateKey),
    ]);
    for (const [n, pair] of signing.entries()) {
      const [ours, theirs] = await Promise.all(pair);
      await compactVerify(`${inputOf('ES256', `${n}`)}.${ours}`, publicKey);
      await compactVerify(`${inputOf('EdDSA', `${n}`)}.${theirs}`, other.publicKey);
    }
    expect(workers[0]!.answers).toBe(2);
  });

  test('rejects what can not be signed, here or by the thread, and goes on', async () => {
    const thread = await startOnline();
    await expect(thread.sign('a.b', 'HS256', privateKey)).rejects.toThrow('got HS256');
    const { privateKey: key } = makeKeys('ES256');
    const many = [1, 2, 3].map(() => thread.sign('a.b', 'HS256', key));
    const good = signMany(thread, 50);
    for (const { status } of await Promise.allSettled(many)) expect(status).toBe('rejected');
    await good;
    await signMany(thread, 5);
  });

  test('starts no thread where there is one processor, or few are asked for', async () => {
    await signMany(start(1), 100);
    await signMany(start(2), 2);
    expect(workers).toEqual([]);
    await signMany(start(2), 3);
    expect(workers).toHaveLength(1);
  });

  test('leaves nothing unsigned when the thread is ended', async () => {
    const thread = await startOnline();
    const signing = signMany(thread, 300);
    // It is over there by now; none of it has come back.
    await Promise.resolve();
    await Promise.all([thread.close(), signing]);
    await signMany(thread, 10);
    expect(workers).toHaveLength(1);
  });

  test('signs here what a thread that died had still to sign, and starts another', async () => {
    const thread = await startOnline();
    const signing = signMany(thread, 300);
    await Promise.resolve();
    await Promise.all([workers[0]!.worker.terminate(), signing]);
    await signMany(thread, 10);
    expect(workers).toHaveLength(2);
  });
});
