import { afterEach, describe, expect, test, vi } from 'vitest';
import type { WorkerOptions } from '../../src/handler/index.ts';
import { ConfigurationError, createWorker, iterativeTask, task } from '../../src/handler/index.ts';
import { createSigner, WORKER_URL } from '../support/sign.ts';

afterEach(() => vi.unstubAllEnvs());

const good = { issuer: 'https://errand.example', publicUrl: WORKER_URL };

test('createWorker() says issuer and public URL once for everything', async () => {
  const signer = await createSigner();
  const errand = createWorker({ issuer: signer.issuer, publicUrl: WORKER_URL });
  const greet = errand.task((name) => `Hello ${name}`);
  const walk = errand.iterativeTask({
    batch: 1,
    fetchBatch: () => ({ entities: [] }),
    work: () => undefined,
  });
  const response = await greet(await signer.request({ body: 'Ada' }));
  expect(await response.text()).toBe('Hello Ada');
  expect(await (await walk(await signer.request({ body: '' }))).json()).toMatchObject({ steps: 1 });
  expect((await errand.verify(await signer.request())).queue).toBe('mail');
  await signer.close();
});

test('createWorker() options are overridden by those of a task', async () => {
  const signer = await createSigner();
  const errand = createWorker({ issuer: signer.issuer, publicUrl: 'https://other.example' });
  const handler = errand.task(() => 'taken', { publicUrl: WORKER_URL });
  expect((await handler(await signer.request())).status).toBe(200);
  expect((await errand.task(() => 'taken')(await signer.request())).status).toBe(401);
  await signer.close();
});

test('createWorker() takes what is not given from the environment', async () => {
  const signer = await createSigner();
  vi.stubEnv('ERRAND_ISSUER', signer.issuer);
  vi.stubEnv('ERRAND_WORKER_URL', WORKER_URL);
  const handler = createWorker().task(() => 'taken');
  expect((await handler(await signer.request())).status).toBe(200);
  await signer.close();
});

describe('createWorker() refuses', () => {
  const cases: [string, WorkerOptions, string][] = [
    [
      'no issuer',
      { publicUrl: WORKER_URL },
      'issuer is missing: give the public URL of the service, or set ERRAND_ISSUER',
    ],
    [
      'no public URL',
      { issuer: good.issuer },
      'publicUrl is missing: give this worker’s own public URL',
    ],
    ['an empty issuer', { ...good, issuer: '' }, 'issuer is missing'],
    ['a public URL that is none', { ...good, publicUrl: 'app.example' }, 'got "app.example"'],
    ['another scheme', { ...good, publicUrl: 'ftp://app.example' }, 'must be an http(s) URL'],
    ['a query', { ...good, publicUrl: 'https://app.example/?a' }, 'without query'],
    ['credentials', { ...good, issuer: 'https://u:p@errand.example' }, 'credentials'],
    ['an empty audience', { ...good, audience: '' }, 'audience must be a non-empty string, got ""'],
    ['a null audience', { ...good, audience: [] as never }, 'audience must be'],
    ['half a byte', { ...good, maxBodyBytes: 0.5 }, 'maxBodyBytes must be an integer'],
    ['keys that are none', { ...good, jwks: {} as never }, 'jwks must be a JSON Web Key Set'],
    ['a jwksUrl that is none', { ...good, jwksUrl: '/jwks' }, 'jwksUrl must be an http(s) URL'],
  ];
  test.each(cases)('%s', (_what, options, message) => {
    vi.stubEnv('ERRAND_ISSUER', undefined);
    vi.stubEnv('ERRAND_WORKER_URL', undefined);
    const escaped = message.replaceAll('’', "'");
    expect(() => createWorker(options)).toThrow(ConfigurationError);
    expect(() => createWorker(options)).toThrow(escaped);
    expect(() => task(() => undefined, options)).toThrow(escaped);
  });
});

test('task() refuses an input that is no Standard Schema, at once', () => {
  expect(() => task(() => undefined, { ...good, input: {} as never })).toThrow(ConfigurationError);
});

test.each([
  ['batch', 0],
  ['batch', 1.5],
  ['delaySeconds', -1],
  ['delaySeconds', Number.NaN],
  ['fetchBatch', undefined],
  ['work', null],
])('iterativeTask() refuses %s %s, at once', (name, value) => {
  const definition = { batch: 1, fetchBatch: () => ({ entities: [] }), work: () => undefined };
  const build = () => iterativeTask({ ...definition, [name]: value } as never, good);
  expect(build).toThrow(ConfigurationError);
  expect(build).toThrow(name);
});
