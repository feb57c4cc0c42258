import { describe, expect, test } from 'vitest';
import type { Responded } from '../../src/policy/answer.ts';
import { LIMIT } from '../../src/protocol/limits.ts';
import { startRawServer } from '../support/raw-server.ts';
import { until } from '../support/until.ts';
import { OK, raw, startPoster, target } from './post-fixture.ts';

describe('post() and odd answers', () => {
  test('a reset before the status line is unreachable', async () => {
    const reset = await raw((socket) => socket.resetAndDestroy());
    const answer = await startPoster()(reset.url);
    expect(answer).toMatchObject({
      outcome: 'unreachable',
      error: expect.stringMatching(/ECONNRESET|SOCKET/),
    });
  });

  test('a refused connection is unreachable, and says so', async () => {
    const gone = await startRawServer(() => {});
    await gone.close();
    const answer = await startPoster()(gone.url);
    expect(answer).toMatchObject({
      outcome: 'unreachable',
      error: expect.stringContaining('ECONNREFUSED'),
    });
  });

  test.each([
    ['no HTTP at all', 'SSH-2.0-OpenSSH_9.6\r\n'],
    [
      'a switch of protocols',
      'HTTP/1.1 101 Switching Protocols\r\nupgrade: x\r\nconnection: upgrade\r\n\r\n',
    ],
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
    const old = await raw((socket) =>
      socket.end('HTTP/1.0 200 OK\r\ncontent-type: text/x\r\n\r\nold'),
    );
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
      response.writeHead(200, {
        'content-type': 'application/pdf',
        'content-disposition': disposition,
      });
      response.end('%PDF');
    });
    const answer = await startPoster()(worker.url);
    expect(answer).toMatchObject({ contentType: 'application/pdf', fileName: 'report.pdf' });
  });
});

describe('post() and requests', () => {
  test.each(['POST', 'PUT', 'PATCH', 'DELETE', 'GET'])(
    'sends a %s with its body',
    async (method) => {
      const worker = await target((_, response) => void response.end('ok'));
      const post = startPoster();
      const answer = (await post(`${worker.url}/a?b=1`, { method })) as Responded;
      expect(answer.body.toString()).toBe('ok');
      expect(worker.arrivals).toMatchObject([
        { method, path: '/a?b=1', body: Buffer.from('payload') },
      ]);
    },
  );

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
});
