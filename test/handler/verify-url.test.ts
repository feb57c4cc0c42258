import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { WorkerOptions } from '../../src/handler/index.ts';
import { VerificationError, verify } from '../../src/handler/index.ts';
import type { Signer } from '../support/sign.ts';
import { createSigner, toRequest, WORKER_URL } from '../support/sign.ts';

let signer: Signer;
let options: WorkerOptions;
beforeAll(async () => {
  signer = await createSigner();
  options = { issuer: signer.issuer, publicUrl: WORKER_URL };
});
afterAll(() => signer.close());

async function refusal(request: Request, more: WorkerOptions = {}): Promise<VerificationError> {
  const error = await verify(request, { ...options, ...more }).catch((thrown) => thrown);
  expect(error).toBeInstanceOf(VerificationError);
  return error;
}

describe('verify() compares the URL with the worker’s own', () => {
  test.each([
    ['a query', `${WORKER_URL}/t?b=2&a=%20x`],
    ['a lone question mark, which no request line carries', `${WORKER_URL}/t?`],
    ['a fragment', `${WORKER_URL}/t#part`],
    ['dots, spaces and letters beyond ASCII', `${WORKER_URL}/a/../tâche d`],
    ['a path that begins with two slashes', `${WORKER_URL}//other.example/t`],
    ['the default port', 'https://worker.example:443/t'],
  ])('and takes %s', async (_what, url) => {
    const signed = await signer.sign({ url });
    const { pathname, search } = new URL(url);
    const request = toRequest({ ...signed, url: `http://10.0.0.7:8080${pathname}${search}` });
    expect((await verify(request, options)).queue).toBe('mail');
  });

  test('with a path prefix that a proxy strips', async () => {
    const signed = await signer.sign({ url: 'https://worker.example/app/tasks/email' });
    const request = toRequest({ ...signed, url: 'http://10.0.0.7/tasks/email' });
    const task = await verify(request, { ...options, publicUrl: `${WORKER_URL}/app/` });
    expect(task.queue).toBe('mail');
  });

  test('and never with the Host header', async () => {
    const signed = await signer.sign({ url: 'https://other.example/tasks/email' });
    signed.headers.host = 'other.example';
    const error = await refusal(toRequest(signed), { audience: 'https://other.example' });
    expect(error.code).toBe('url-mismatch');
  });

  test.each([
    ['another path', '/tasks/other'],
    ['another query', '/tasks/email?a=2'],
    ['a path in another case', '/tasks/Email'],
    ['an additional slash', '/tasks/email/'],
  ])('and refuses %s', async (_what, path) => {
    const signed = await signer.sign();
    const error = await refusal(toRequest({ ...signed, url: `${WORKER_URL}${path}` }));
    expect(error.code).toBe('url-mismatch');
  });
});
