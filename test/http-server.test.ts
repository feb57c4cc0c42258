import { connect, type Socket } from 'node:net';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { type HttpServer, listen } from '../src/http-server.ts';
import { defaultLoadLimits } from '../src/load-shedding.ts';
import { until } from './support/until.ts';

let server: HttpServer;
let sockets: Socket[] = [];
let begun = 0;

beforeEach(async () => {
  begun = 0;
  server = await listen('127.0.0.1', 0, { ...defaultLoadLimits(), requests: 3 });
  server.handle(async (request) => {
    begun += 1;
    return new Response(await request.text());
  });
});
afterEach(async () => {
  for (const socket of sockets) socket.destroy();
  sockets = [];
  await server.close();
});

/** A request whose body does not come to its end. */
async function upload(): Promise<Socket> {
  const socket = connect(server.port, '127.0.0.1');
  sockets.push(socket);
  const before = begun;
  socket.write('POST /v1/queues HTTP/1.1\r\nhost: x\r\ncontent-length: 10\r\n\r\n12345');
  await until(() => begun > before);
  return socket;
}

function statusOf(path: string): Promise<number> {
  return fetch(`http://127.0.0.1:${server.port}${path}`).then(({ status }) => status);
}

describe('listen()', () => {
  it('sheds what is too much, but never the questions of those who watch and verify', async () => {
    await Promise.all([upload(), upload(), upload()]);
    expect(await statusOf('/v1/queues')).toBe(503);
    expect(await statusOf('/docs')).toBe(503);
    for (const path of ['/healthz', '/readyz', '/metrics', '/.well-known/jwks.json', '/p/a/b']) {
      expect(await statusOf(path)).toBe(200);
    }
  });

  it('lets go of a request whose client went away in the middle of its body', async () => {
    await Promise.all([upload(), upload(), upload()]);
    expect(await statusOf('/v1/queues')).toBe(503);
    for (const socket of sockets) socket.destroy();
    await until(async () => (await statusOf('/v1/queues')) === 200);
  });

  it('answers 503 until there is a handler', async () => {
    const other = await listen('127.0.0.1', 0);
    const answer = await fetch(`http://127.0.0.1:${other.port}/readyz`);
    await other.close();
    expect(answer.status).toBe(503);
    expect(answer.headers.get('retry-after')).toBe('1');
  });
});
