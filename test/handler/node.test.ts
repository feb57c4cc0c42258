import { once } from 'node:events';
import type { IncomingMessage, Server } from 'node:http';
import { Agent, request as httpRequest } from 'node:http';
import { text } from 'node:stream/consumers';
import express from 'express';
import Fastify from 'fastify';
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest';
import type { WorkerOptions } from '../../src/handler/index.ts';
import { task } from '../../src/handler/index.ts';
import { fastifyTargets, toNodeHandler } from '../../src/handler/node.ts';
import type { AttemptToSign, SignedAttempt, Signer } from '../support/sign.ts';
import { close, createSigner, listen, serverUrl, WORKER_URL } from '../support/sign.ts';

let signer: Signer;
let options: WorkerOptions;
let servers: Server[] = [];
beforeAll(async () => {
  signer = await createSigner();
  options = { issuer: signer.issuer, publicUrl: WORKER_URL };
});
afterEach(async () => {
  await Promise.all(servers.map(close));
  servers = [];
});
afterAll(() => signer.close());

async function serve(listener: Parameters<typeof listen>[0]): Promise<string> {
  const server = await listen(listener);
  servers.push(server);
  return serverUrl(server);
}

/** Sends what was signed for the public URL to where the worker really listens. */
function dispatch(base: string, { url, method, headers, body }: SignedAttempt): Promise<Response> {
  const { pathname, search } = new URL(url);
  const hasBody = method !== 'GET' && method !== 'HEAD';
  return fetch(`${base}${pathname}${search}`, { method, headers, body: hasBody ? body : null });
}

async function answerOf(base: string, attempt: AttemptToSign = {}) {
  const response = await dispatch(base, await signer.sign(attempt));
  return { status: response.status, text: await response.text() };
}

const echo = () => task((_payload, { body }) => Buffer.from(body).toString('hex'), options);

describe('toNodeHandler()', () => {
  test('keeps the raw bytes', async () => {
    const base = await serve(toNodeHandler(echo()));
    const body = new Uint8Array([0, 255, 254, 13, 10, 128]);
    expect(await answerOf(base, { body })).toEqual({ status: 200, text: '00fffe0d0a80' });
  });

  test('takes a body of the largest payload, and an empty one', async () => {
    const base = await serve(toNodeHandler(task((_payload, { body }) => body.length, options)));
    const body = new Uint8Array(1024 * 1024);
    expect(await answerOf(base, { body })).toEqual({ status: 200, text: '1048576' });
    expect(await answerOf(base, { body: '' })).toEqual({ status: 200, text: '0' });
  });

  test.each(['PUT', 'PATCH', 'DELETE', 'GET', 'HEAD'])('takes %s', async (method) => {
    const base = await serve(toNodeHandler(echo()));
    expect((await answerOf(base, { method, body: '' })).status).toBe(200);
  });

  test('answers every header, cookies one by one, and a streamed body', async () => {
    const headers = new Headers({ 'content-type': 'text/csv' });
    headers.append('set-cookie', 'a=1');
    headers.append('set-cookie', 'b=2');
    const body = () => ReadableStream.from([Buffer.from('a,'), Buffer.from('b')]);
    const base = await serve(toNodeHandler(async () => new Response(body(), { headers })));
    const response = await fetch(base);
    expect(response.headers.getSetCookie()).toEqual(['a=1', 'b=2']);
    expect(await response.text()).toBe('a,b');
  });

  test('leaves a connection usable after a refusal that left the body unread', async () => {
    const base = await serve(toNodeHandler(echo()));
    const agent = new Agent({ keepAlive: true, maxSockets: 1 });
    const forged = await signer.sign({ body: 'x'.repeat(900_000), claims: { htm: 'PUT' } });
    const first = await send(base, forged, agent);
    const second = await send(base, await signer.sign({ body: 'ok' }), agent);
    expect([first.status, second.status, second.text]).toEqual([401, 200, '6f6b']);
    expect(second.isReused).toBe(true);
    agent.destroy();
  });

  test('aborts the signal when the client goes away', async () => {
    const started = Promise.withResolvers<void>();
    const aborted = Promise.withResolvers<void>();
    const handler = task(async (_payload, { signal }) => {
      signal.addEventListener('abort', () => aborted.resolve());
      started.resolve();
      await aborted.promise;
    }, options);
    const base = await serve(toNodeHandler(handler));
    const { url, headers, body } = await signer.sign();
    const client = httpRequest(`${base}${new URL(url).pathname}`, { method: 'POST', headers });
    client.on('error', () => {});
    client.end(body);
    await started.promise;
    client.destroy();
    await aborted.promise;
  });

  test('does not abort the signal when the answer was sent', async () => {
    const finished = Promise.withResolvers<AbortSignal>();
    const handler = task((_payload, { signal }) => finished.resolve(signal), options);
    const handle = toNodeHandler(handler);
    const closed = Promise.withResolvers<void>();
    const base = await serve((incoming, outgoing) => {
      outgoing.once('close', closed.resolve);
      return handle(incoming, outgoing);
    });
    await answerOf(base);
    await closed.promise;
    expect((await finished.promise).aborted).toBe(false);
  });

  test('answers 500 when the handler throws, and warns', async () => {
    const base = await serve(toNodeHandler(() => Promise.reject(new Error('secret'))));
    const warning = once(process, 'warning');
    const response = await fetch(base);
    expect([response.status, await response.text()]).toEqual([500, 'The handler threw an error\n']);
    expect((await warning)[0]).toMatchObject({ message: 'secret' });
  });

  test('cuts an answer whose body breaks off', async () => {
    async function* broken() {
      yield Buffer.from('half');
      throw new Error('broken off');
    }
    const body = () => ReadableStream.from(broken());
    const base = await serve(toNodeHandler(async () => new Response(body())));
    const warning = once(process, 'warning');
    await expect(fetch(base).then((response) => response.text())).rejects.toThrow();
    expect((await warning)[0]).toMatchObject({ message: 'broken off' });
  });

  test('answers 400 to a method that the web platform has not', async () => {
    const base = await serve(toNodeHandler(echo()));
    const client = httpRequest(base, { method: 'TRACE' }).end();
    const [incoming] = (await once(client, 'response')) as [IncomingMessage];
    incoming.resume();
    expect(incoming.statusCode).toBe(400);
  });
});

describe('toNodeHandler() in Express', () => {
  test('sees the whole path within a mounted router', async () => {
    const router = express.Router().post('/email', toNodeHandler(echo()));
    const base = await serve(express().use('/tasks', router));
    const url = `${WORKER_URL}/tasks/email?a=1`;
    expect(await answerOf(base, { url, body: 'ok' })).toEqual({ status: 200, text: '6f6b' });
  });

  test('works beside express.json() that is mounted after it', async () => {
    const app = express().post('/tasks/email', toNodeHandler(echo())).use(express.json());
    app.post('/other', (request, response) => void response.json(request.body));
    const base = await serve(app);
    expect((await answerOf(base)).status).toBe(200);
    const headers = { 'content-type': 'application/json' };
    const other = await fetch(`${base}/other`, { method: 'POST', headers, body: '{"a": 1}' });
    expect(await other.json()).toEqual({ a: 1 });
  });

  test('says what to do when express.json() has read the body', async () => {
    const app = express().use(express.json()).post('/tasks/email', toNodeHandler(echo()));
    const answer = await answerOf(await serve(app));
    expect(answer.status).toBe(500);
    expect(answer.text).toContain('mount this handler before express.json()');
  });
});

describe('fastifyTargets()', () => {
  async function serveFastify() {
    const app = Fastify();
    app.register(fastifyTargets({ '/tasks/email': echo() }));
    app.register(fastifyTargets({ '/email': echo() }), { prefix: '/v2' });
    app.post('/other', async (request) => request.body);
    return { base: await app.listen({ host: '127.0.0.1', port: 0 }), app };
  }

  test('keeps the raw bytes of any content type, and of none', async () => {
    const { base, app } = await serveFastify();
    const body = '{ "to" : 1 }';
    const text = Buffer.from(body).toString('hex');
    expect(await answerOf(base, { body })).toEqual({ status: 200, text });
    for (const type of ['application/octet-stream', 'text/plain; charset=utf-8', null]) {
      const headers = { 'content-type': type };
      expect(await answerOf(base, { body, headers })).toEqual({ status: 200, text });
    }
    await app.close();
  });

  test('serves under a prefix, and refuses what is forged', async () => {
    const { base, app } = await serveFastify();
    const url = `${WORKER_URL}/v2/email`;
    expect((await answerOf(base, { url })).status).toBe(200);
    expect((await answerOf(base, { url, claims: { url: `${WORKER_URL}/email` } })).status).toBe(
      401,
    );
    await app.close();
  });

  test('leaves the rest of the app its parsers', async () => {
    const { base, app } = await serveFastify();
    const headers = { 'content-type': 'application/json' };
    const response = await fetch(`${base}/other`, { method: 'POST', headers, body: '{ "a": 1 }' });
    expect(await response.json()).toEqual({ a: 1 });
    await app.close();
  });
});

async function send(base: string, signed: SignedAttempt, agent: Agent) {
  const { url, method, headers, body } = signed;
  const client = httpRequest(`${base}${new URL(url).pathname}`, { method, headers, agent });
  client.end(body);
  const [incoming] = (await once(client, 'response')) as [IncomingMessage];
  return {
    status: incoming.statusCode,
    text: await text(incoming),
    isReused: client.reusedSocket,
  };
}
