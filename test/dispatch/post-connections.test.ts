import { createServer as createHttpServer, request as httpRequest } from 'node:http';
import { createServer as createHttpsServer } from 'node:https';
import { connect } from 'node:net';
import { getCACertificates, setDefaultCACertificates } from 'node:tls';
import { describe, expect, test } from 'vitest';
import { callTarget } from '../../src/dispatch/call-target.ts';
import { createTargetGuard } from '../../src/dispatch/guard.ts';
import { createPoster } from '../../src/dispatch/post.ts';
import type { Responded } from '../../src/policy/answer.ts';
import { AUTHORITY, SIGNED } from '../support/certificates.ts';
import { SELF_SIGNED } from '../support/self-signed.ts';
import { until } from '../support/until.ts';
import { cleanups, listen, OK, raw, startPoster, target } from './post-fixture.ts';

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
    const poster = createPoster({
      guard: createTargetGuard({ allow: ['loopback'] }),
      connections: 8,
    });
    const request = { project: 'default', method: 'POST', headers: {}, body: Buffer.alloc(0) };
    await poster.post({ ...request, target: callTarget(worker.url)!, deadlineMs: 60_000 });
    const hanging = poster.post({
      ...request,
      target: callTarget(silent.url)!,
      deadlineMs: 60_000,
    });
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

  test('to a certificate of a well-known authority goes through beside the given one', async () => {
    const wellKnown = getCACertificates('default');
    setDefaultCACertificates([...wellKnown, AUTHORITY]);
    cleanups.push(async () => setDefaultCACertificates(wellKnown));
    const server = createHttpsServer(SIGNED.good, (_, response) => response.end('secret'));
    cleanups.push(async () => server.closeAllConnections());
    const url = `https://localhost:${await listen(server)}/`;
    const answer = (await startPoster({ ca: SELF_SIGNED.cert })(url)) as Responded;
    expect(answer.body?.toString()).toBe('secret');
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
