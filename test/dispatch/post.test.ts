import { createServer as createHttpServer, request as httpRequest } from 'node:http';
import { createServer as createHttpsServer } from 'node:https';
import { type AddressInfo, connect, type Server } from 'node:net';
import { gzipSync } from 'node:zlib';
import { afterEach, describe, expect, test } from 'vitest';
import { createTargetGuard } from '../../src/dispatch/guard.ts';
import { createPoster, type PosterOptions, type PostRequest } from '../../src/dispatch/post.ts';
import type { Answer, Responded } from '../../src/policy/answer.ts';
import { LIMIT } from '../../src/protocol/limits.ts';
import { startRawServer } from '../support/raw-server.ts';
import { SELF_SIGNED } from '../support/self-signed.ts';
import { type Answer as TargetAnswer, startTarget } from '../support/target.ts';
import { until } from '../support/until.ts';

const cleanups: (() => Promise<unknown>)[] = [];

afterEach(async () => {
  for (const cleanUp of cleanups.splice(0).reverse()) await cleanUp();
});

function startPoster(options: Partial<PosterOptions> = {}) {
  const guard = createTargetGuard({ allow: ['loopback'] });
  const poster = createPoster({ guard, connections: 256, ...options });
  cleanups.push(() => poster.close());
  return (url: string, request: Partial<PostRequest> = {}): Promise<Answer> =>
    poster.post({
      project: 'default',
      url,
      method: 'POST',
      headers: {},
      body: Buffer.from('payload'),
      deadlineMs: 10_000,
      ...request,
    });
}

async function target(answer?: TargetAnswer) {
  const started = await startTarget(answer);
  cleanups.push(() => started.close());
  return started;
}

async function raw(onRequest: Parameters<typeof startRawServer>[0]) {
  const started = await startRawServer(onRequest);
  cleanups.push(() => started.close());
  return started;
}

async function listen(server: Server): Promise<number> {
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  cleanups.push(() => new Promise((resolve) => server.close(resolve)));
  return (server.address() as AddressInfo).port;
}

async function timed<Result>(call: Promise<Result>): Promise<[Result, number]> {
  const startMs = performance.now();
  const result = await call;
  return [result, performance.now() - startMs];
}

/** A raw server that sends `line` first, and then `more` every few milliseconds until it is cut off. */
function endless(first: string, more: string, everyMs: number) {
  return raw((socket) => {
    socket.write(first);
    const timer = setInterval(() => socket.writableNeedDrain || socket.write(more), everyMs);
    socket.on('close', () => clearInterval(timer));
  });
}

const OK = 'HTTP/1.1 200 OK\r\n';

describe('post() and its deadline', () => {
  test('bounds the wait for a connection', async () => {
    // TEST-NET addresses drop what is sent to them, or there is no route: both end in time.
    const post = startPoster({ guard: createTargetGuard({ allow: ['192.0.2.0/24'] }) });
    const [answer, tookMs] = await timed(post('http://192.0.2.1/', { deadlineMs: 300 }));
    expect(['timed_out', 'unreachable']).toContain(answer.outcome);
    expect(tookMs).toBeLessThan(1_000);
  });

  test('bounds the wait for headers, and cuts the connection', async () => {
    const silent = await raw(() => {});
    const [answer, tookMs] = await timed(startPoster()(silent.url, { deadlineMs: 200 }));
    expect(answer).toEqual({ outcome: 'timed_out', error: 'no complete answer within 0.2 s' });
    expect(tookMs).toBeGreaterThanOrEqual(195);
    expect(tookMs).toBeLessThan(800);
    await until(() => silent.open() === 0);
  });

  test('bounds headers that never end', async () => {
    const drip = await endless(OK, 'x', 20);
    const [answer, tookMs] = await timed(startPoster()(drip.url, { deadlineMs: 300 }));
    expect(answer.outcome).toBe('timed_out');
    expect(tookMs).toBeLessThan(900);
    await until(() => drip.open() === 0);
  });

  test('bounds interim answers that never end', async () => {
    const processing = await endless('', 'HTTP/1.1 102 Processing\r\n\r\n', 20);
    const [answer, tookMs] = await timed(startPoster()(processing.url, { deadlineMs: 300 }));
    expect(answer.outcome).toBe('timed_out');
    expect(tookMs).toBeLessThan(900);
    await until(() => processing.open() === 0);
  });

  test('bounds a dripped body, and the status line decides', async () => {
    const drip = await endless(`${OK}content-length: 100000\r\n\r\n`, 'x', 20);
    const [answer, tookMs] = await timed(startPoster()(drip.url, { deadlineMs: 300 }));
    expect(answer).toMatchObject({
      outcome: 'responded',
      status: 200,
      bodyError: 'no complete answer within 0.3 s',
    });
    expect((answer as Responded).body.toString()).toMatch(/^x+$/);
    expect(tookMs).toBeLessThan(900);
    await until(() => drip.open() === 0);
  });

  test('counts the wait for a free connection too', async () => {
    const silent = await raw(() => {});
    const post = startPoster({ connections: 1 });
    const calls = [post(silent.url, { deadlineMs: 200 }), post(silent.url, { deadlineMs: 200 })];
    const [answers, tookMs] = await timed(Promise.all(calls));
    expect(answers.map(({ outcome }) => outcome)).toEqual(['timed_out', 'timed_out']);
    expect(tookMs).toBeLessThan(390);
    expect(silent.accepted()).toBe(1);
  });
});

describe('post() and bodies', () => {
  test('cuts an endless body at the output limit; success is by the status line', async () => {
    const chunk = `${(32_768).toString(16)}\r\n${'x'.repeat(32_768)}\r\n`;
    const flood = await endless(`${OK}transfer-encoding: chunked\r\n\r\n`, chunk, 1);
    const answer = await startPoster()(flood.url);
    expect(answer).toMatchObject({ outcome: 'responded', status: 200, isTruncated: true });
    expect((answer as Responded).body).toHaveLength(LIMIT.outputBytes);
    await until(() => flood.open() === 0);
  });

  test('keeps a body of just the limit whole', async () => {
    const exact = await target((_, response) => void response.end(Buffer.alloc(LIMIT.outputBytes)));
    const answer = (await startPoster()(exact.url)) as Responded;
    expect(answer).toMatchObject({ isTruncated: false, bodyError: null });
    expect(answer.body).toHaveLength(LIMIT.outputBytes);
  });

  test('reads a continuation whole up to its own limit, and says so beyond it', async () => {
    let size = LIMIT.continuationBytes;
    const worker = await target((_, response) => {
      response.setHeader('Errand-Outcome', 'continue');
      response.end(Buffer.alloc(size, 'y'));
    });
    const post = startPoster();
    const whole = (await post(worker.url)) as Responded;
    expect(whole).toMatchObject({ outcomeHeader: 'continue', isTruncated: false });
    expect(whole.body).toHaveLength(LIMIT.continuationBytes);
    size += 1;
    const cut = (await post(worker.url)) as Responded;
    expect(cut.isTruncated).toBe(true);
    expect(cut.body.length).toBeLessThanOrEqual(LIMIT.continuationBytes);
  });

  test('leaves a compressed body as it came', async () => {
    const bomb = gzipSync(Buffer.alloc(1_000_000));
    const worker = await target((_, response) => {
      response.setHeader('content-encoding', 'gzip');
      response.end(bomb);
    });
    const answer = (await startPoster()(worker.url)) as Responded;
    expect(Buffer.from(answer.body)).toEqual(bomb);
  });

  test('a reset after the status line keeps the status, with what had come of the body', async () => {
    const cut = await raw((socket) => {
      socket.write(`${OK}content-length: 100\r\n\r\npart`, () =>
        setTimeout(() => socket.resetAndDestroy(), 50),
      );
    });
    const answer = (await startPoster()(cut.url)) as Responded;
    expect(answer).toMatchObject({ outcome: 'responded', status: 200 });
    expect(answer.bodyError).not.toBeNull();
    expect(answer.body.toString()).toBe('part');
  });

  test.each([
    ['204 No Content', 204],
    ['304 Not Modified', 304],
  ])('%s has no body', async (line, status) => {
    const worker = await raw((socket) => socket.write(`HTTP/1.1 ${line}\r\n\r\n`));
    const answer = await startPoster()(worker.url);
    expect(answer).toMatchObject({ outcome: 'responded', status, bodyError: null });
    expect((answer as Responded).body).toHaveLength(0);
  });

  test('200 endless bodies at once, in chunks of one byte, take less than 50 MB', async () => {
    const bytes = '1\r\nx\r\n'.repeat(10_000);
    const flood = await endless(`${OK}transfer-encoding: chunked\r\n\r\n`, bytes, 5);
    const post = startPoster();
    await post(flood.url);
    const answers: Answer[] = [];
    const before = process.memoryUsage.rss();
    let most = 0;
    const watch = setInterval(() => {
      most = Math.max(most, process.memoryUsage.rss());
    }, 10);
    for (let round = 0; round < 4; round++) {
      const calls = Array.from({ length: 50 }, () => post(flood.url));
      answers.push(...(await Promise.all(calls)));
    }
    clearInterval(watch);
    const lengths = new Set(answers.map((answer) => (answer as Responded).body.length));
    expect(lengths).toEqual(new Set([LIMIT.outputBytes]));
    expect((most - before) / 1e6).toBeLessThan(50);
  });
});

describe('post() and odd answers', () => {
  test('a reset before the status line is unreachable', async () => {
    const reset = await raw((socket) => socket.resetAndDestroy());
    const answer = await startPoster()(reset.url);
    expect(answer).toMatchObject({ outcome: 'unreachable', error: expect.stringMatching(/ECONNRESET|SOCKET/) });
  });

  test('a refused connection is unreachable, and says so', async () => {
    const gone = await startRawServer(() => {});
    await gone.close();
    const answer = await startPoster()(gone.url);
    expect(answer).toMatchObject({ outcome: 'unreachable', error: expect.stringContaining('ECONNREFUSED') });
  });

  test.each([
    ['no HTTP at all', 'SSH-2.0-OpenSSH_9.6\r\n'],
    ['a switch of protocols', 'HTTP/1.1 101 Switching Protocols\r\nupgrade: x\r\nconnection: upgrade\r\n\r\n'],
    ['10,000 headers', `${OK}${'x-a: b\r\n'.repeat(10_000)}\r\n`],
    ['a header of 1 MB', `${OK}x: ${'y'.repeat(1_000_000)}\r\n\r\n`],
  ])('%s is unreachable', async (_, bytes) => {
    const odd = await raw((socket) => socket.write(bytes));
    const answer = await startPoster()(odd.url);
    expect(answer.outcome).toBe('unreachable');
    expect((answer as { error: string }).error).not.toBe('');
    await until(() => odd.open() === 0);
  });

  test('an HTTP/1.0 answer that ends with its connection is read whole', async () => {
    const old = await raw((socket) => socket.end('HTTP/1.0 200 OK\r\ncontent-type: text/x\r\n\r\nold'));
    const answer = (await startPoster()(old.url)) as Responded;
    expect(answer).toMatchObject({ status: 200, contentType: 'text/x', bodyError: null });
    expect(answer.body.toString()).toBe('old');
  });

  test('interim answers before the answer are passed over', async () => {
    const worker = await raw((socket) => {
      socket.write('HTTP/1.1 103 Early Hints\r\nerrand-outcome: failed\r\n\r\n');
      socket.write(`${OK}content-length: 2\r\n\r\nok`);
    });
    const answer = (await startPoster()(worker.url)) as Responded;
    expect(answer).toMatchObject({ status: 200, outcomeHeader: null });
  });

  test('a redirect is an answer and is not followed', async () => {
    const elsewhere = await target();
    const worker = await target((_, response) => {
      response.writeHead(307, { location: elsewhere.url }).end();
    });
    expect(await startPoster()(worker.url)).toMatchObject({ outcome: 'responded', status: 307 });
    expect(elsewhere.arrivals).toEqual([]);
    expect(worker.arrivals).toHaveLength(1);
  });

  test('a second answer left on the socket is not read as that of the next call', async () => {
    const poison = `${OK}content-length: 1\r\n\r\na${OK}content-length: 6\r\n\r\npoison`;
    const worker = await raw((socket) => socket.write(poison));
    const post = startPoster({ connections: 1 });
    await post(worker.url);
    const second = await post(worker.url, { deadlineMs: 500 });
    expect((second as Responded).body?.toString()).not.toBe('poison');
  });

  test('takes file name and content type from the headers, without a path', async () => {
    const worker = await target((_, response) => {
      const disposition = 'attachment; filename="../../etc/report.pdf"';
      response.writeHead(200, { 'content-type': 'application/pdf', 'content-disposition': disposition });
      response.end('%PDF');
    });
    const answer = await startPoster()(worker.url);
    expect(answer).toMatchObject({ contentType: 'application/pdf', fileName: 'report.pdf' });
  });
});

describe('post() and requests', () => {
  test.each(['POST', 'PUT', 'PATCH', 'DELETE', 'GET'])('sends a %s with its body', async (method) => {
    const worker = await target((_, response) => void response.end('ok'));
    const post = startPoster();
    const answer = (await post(`${worker.url}/a?b=1`, { method })) as Responded;
    expect(answer.body.toString()).toBe('ok');
    expect(worker.arrivals).toMatchObject([{ method, path: '/a?b=1', body: Buffer.from('payload') }]);
  });

  test.each([
    ['POST', '0'],
    ['GET', undefined],
    ['DELETE', undefined],
  ])('a %s without a body has content-length %s', async (method, length) => {
    const worker = await target();
    await startPoster()(worker.url, { method, body: Buffer.alloc(0) });
    expect(worker.arrivals[0]!.headers['content-length']).toBe(length);
  });

  test('HEAD ends with the headers', async () => {
    const worker = await target((_, response) => {
      response.writeHead(200, { 'content-length': '1000' }).end();
    });
    const answer = await startPoster()(worker.url, { method: 'HEAD', body: Buffer.alloc(0) });
    expect(answer).toMatchObject({ outcome: 'responded', status: 200, bodyError: null });
  });

  test('a body of 1 MiB arrives byte for byte', async () => {
    const worker = await target();
    const body = Buffer.from(Array.from({ length: LIMIT.payloadBytes }, (_, i) => i % 256));
    await startPoster()(worker.url, { body });
    expect(worker.arrivals[0]!.body.equals(body)).toBe(true);
  });

  test.each([
    ['a value with a line break', { 'x-a': 'b\r\nx-injected: 1' }],
    ['a name with a line break', { 'x-a\r\nx-injected': '1' }],
    ['a transfer-encoding', { 'transfer-encoding': 'chunked' }],
    ['an upgrade', { upgrade: 'websocket' }],
    ['an expectation', { expect: '100-continue' }],
    ['a wrong content-length', { 'content-length': '3' }],
    ['a character above U+00FF', { 'x-a': '\u2603' }],
  ])('%s in a header is unreachable, and nothing of it is sent', async (_, headers) => {
    const worker = await target();
    const answer = await startPoster()(worker.url, { headers });
    expect(answer.outcome).toBe('unreachable');
    expect(worker.arrivals).toEqual([]);
  });

  test('a URL that is none is unreachable', async () => {
    expect(await startPoster()('no url')).toMatchObject({ outcome: 'unreachable' });
  });
});

describe('post() and connections', () => {
  test('are used again', async () => {
    const server = createHttpServer((_, response) => response.end());
    const url = `http://127.0.0.1:${await listen(server)}/`;
    let accepted = 0;
    server.on('connection', () => {
      accepted += 1;
    });
    const post = startPoster();
    for (let call = 0; call < 10; call++) expect(await post(url)).toMatchObject({ status: 200 });
    // A call that begins in the very turn in which another ended finds its connection not yet free.
    expect(accepted).toBeLessThanOrEqual(2);
    server.closeAllConnections();
  });

  test('are not shared by projects', async () => {
    const worker = await raw((socket) => socket.write(`${OK}content-length: 0\r\n\r\n`));
    const post = startPoster();
    for (const project of ['a', 'b']) await post(worker.url, { project });
    expect(worker.accepted()).toBe(2);
  });

  test('are no more than `connections` to one origin', async () => {
    const worker = await target((_, response) => void setTimeout(() => response.end(), 20));
    const post = startPoster({ connections: 3 });
    await Promise.all(Array.from({ length: 12 }, () => post(worker.url)));
    expect(worker.inFlight.most).toBe(3);
  });

  test('that the target closed while idle do not stop the next call', async () => {
    const worker = await raw((socket) => socket.end(`${OK}content-length: 0\r\n\r\n`));
    const post = startPoster();
    await post(worker.url);
    await until(() => worker.open() === 0);
    expect(await post(worker.url)).toMatchObject({ outcome: 'responded' });
  });

  test('leave neither socket nor timer behind once the poster is closed', async () => {
    const silent = await raw(() => {});
    const worker = await target();
    const poster = createPoster({ guard: createTargetGuard({ allow: ['loopback'] }), connections: 8 });
    const request = { project: 'default', method: 'POST', headers: {}, body: Buffer.alloc(0) };
    await poster.post({ ...request, url: worker.url, deadlineMs: 60_000 });
    const hanging = poster.post({ ...request, url: silent.url, deadlineMs: 60_000 });
    await until(() => silent.open() === 1);
    await poster.close();
    expect(await hanging).toMatchObject({ outcome: 'unreachable' });
    await until(() => silent.open() === 0);
    const timers = process.getActiveResourcesInfo().filter((each) => each === 'Timeout');
    expect(timers.length).toBeLessThanOrEqual(1);
  });
});

describe('post() over TLS', () => {
  async function secure() {
    const server = createHttpsServer(SELF_SIGNED, (_, response) => response.end('secret'));
    cleanups.push(async () => server.closeAllConnections());
    return `https://localhost:${await listen(server)}/`;
  }

  test('to a certificate that nobody vouches for is unreachable, with the reason', async () => {
    const answer = await startPoster()(await secure());
    expect(answer).toMatchObject({
      outcome: 'unreachable',
      error: expect.stringMatching(/DEPTH_ZERO_SELF_SIGNED_CERT.*self-signed certificate/),
    });
  });

  test('to a certificate of the given authority goes through', async () => {
    const answer = (await startPoster({ ca: SELF_SIGNED.cert })(await secure())) as Responded;
    expect(answer.body.toString()).toBe('secret');
  });

  test('to another name than the certificate has is unreachable', async () => {
    const url = (await secure()).replace('localhost', '[::ffff:127.0.0.1]');
    const answer = await startPoster({ ca: SELF_SIGNED.cert })(url);
    expect(answer).toMatchObject({
      outcome: 'unreachable',
      error: expect.stringContaining('ERR_TLS_CERT_ALTNAME_INVALID'),
    });
  });
});

describe('post() through a proxy', () => {
  /** Forwards plain requests and opens tunnels; says which it was asked for. */
  async function startProxy() {
    const asked: string[] = [];
    const proxy = createHttpServer((request, response) => {
      asked.push(`${request.method} ${request.url}`);
      const { method, headers } = request;
      const onward = httpRequest(request.url!, { method: method!, headers }, (answer) => {
        response.writeHead(answer.statusCode!, answer.headers);
        answer.pipe(response);
      });
      request.pipe(onward);
    });
    proxy.on('connect', (request, client) => {
      asked.push(`CONNECT ${request.url}`);
      const [host, port] = request.url!.split(':') as [string, string];
      const upstream = connect(Number(port), host, () => {
        client.write(`${OK}\r\n`);
        upstream.pipe(client).pipe(upstream);
      });
      client.on('error', () => upstream.destroy());
      upstream.on('error', () => client.destroy());
    });
    cleanups.push(async () => proxy.closeAllConnections());
    return { url: `http://127.0.0.1:${await listen(proxy)}`, asked };
  }

  test('goes to the proxy, which resolves the name', async () => {
    const proxy = await startProxy();
    const worker = await target((_, response) => void setTimeout(() => response.end('via'), 100));
    const url = `${worker.url.replace('127.0.0.1', 'localhost')}/a`;
    const post = startPoster({ proxy: proxy.url, guard: createTargetGuard({ allow: [] }) });
    const answers = (await Promise.all([post(url), post(url)])) as Responded[];
    expect(answers.map((answer) => answer.body?.toString())).toEqual(['via', 'via']);
    expect(proxy.asked).toEqual([`POST ${url}`, `POST ${url}`]);
    expect(worker.inFlight.most).toBe(2);
  });

  test('tunnels TLS, with the given authority', async () => {
    const proxy = await startProxy();
    const server = createHttpsServer(SELF_SIGNED, (_, response) => response.end('secret'));
    const port = await listen(server);
    const post = startPoster({ proxy: proxy.url, ca: SELF_SIGNED.cert });
    const answer = (await post(`https://localhost:${port}/`)) as Responded;
    expect(answer.body?.toString()).toBe('secret');
    expect(proxy.asked).toEqual([`CONNECT localhost:${port}`]);
    server.closeAllConnections();
  });

  test('promise 8: asks it for no refused literal', async () => {
    const proxy = await startProxy();
    const post = startPoster({ proxy: proxy.url, guard: createTargetGuard({ allow: [] }) });
    for (const url of ['http://169.254.169.254/', 'https://[::1]/', 'http://0x7f.1/']) {
      expect(await post(url)).toMatchObject({ outcome: 'blocked' });
    }
    expect(proxy.asked).toEqual([]);
  });
});
