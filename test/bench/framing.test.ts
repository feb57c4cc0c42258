import { once } from 'node:events';
import { createServer } from 'node:http';
import { type AddressInfo, connect } from 'node:net';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { createFraming } from '../../bench/framing.ts';

const HEAD = 'POST / HTTP/1.1\r\nhost: target\r\nerrand-task-id: ';

function requestOf(body: Buffer, at: number): Buffer {
  return Buffer.concat([
    Buffer.from(`${HEAD}${at}\r\nContent-Length: ${body.length}\r\n\r\n`),
    body,
  ]);
}

function idOf(head: string): string {
  return /errand-task-id: (\d+)/.exec(head)![1]!;
}

/** Bodies that look like the framing itself are the ones that a careless cut falls for. */
const bodies = fc.array(
  fc.oneof(
    fc.uint8Array({ maxLength: 40 }).map((bytes) => Buffer.from(bytes)),
    fc.constantFrom('\r\n\r\n', '\r\ncontent-length: 3\r\n\r\n').map((text) => Buffer.from(text)),
  ),
  { maxLength: 6 },
);

function cut(bytes: Buffer, places: number[]): Buffer[] {
  const at = [...new Set(places.map((place) => place % (bytes.length + 1)))].sort((a, b) => a - b);
  return [0, ...at].map((from, index) => bytes.subarray(from, at[index] ?? bytes.length));
}

describe('createFraming()', () => {
  test('finds the same messages however they are cut', () => {
    fc.assert(
      fc.property(bodies, fc.array(fc.nat()), (sent, places) => {
        const seen: { id: string; body: Buffer }[] = [];
        const read = createFraming((head, body) => {
          seen.push({ id: idOf(head), body: Buffer.from(body) });
        });
        for (const chunk of cut(Buffer.concat(sent.map(requestOf)), places)) read(chunk);
        expect(seen).toEqual(sent.map((body, at) => ({ id: String(at), body })));
      }),
    );
  });

  test('finds what node:http finds in the same bytes', async () => {
    const sent = [Buffer.from('a'), Buffer.alloc(0), Buffer.alloc(100_000, 'b')];
    const byNode = new Map<string, number>();
    const server = createServer(async (incoming, response) => {
      let bytes = 0;
      for await (const chunk of incoming) bytes += (chunk as Buffer).length;
      byNode.set(String(incoming.headers['errand-task-id']), bytes);
      response.end();
    });
    server.listen(0, '127.0.0.1');
    await once(server, 'listening');
    const socket = connect((server.address() as AddressInfo).port, '127.0.0.1');
    const answered = Promise.withResolvers<void>();
    let answers = 0;
    socket.on(
      'data',
      createFraming((head) => {
        expect(head).toMatch(/^HTTP\/1\.1 200 /);
        answers += 1;
        if (answers === sent.length) answered.resolve();
      }),
    );
    socket.write(Buffer.concat(sent.map(requestOf)));
    await answered.promise;
    socket.destroy();
    server.close();

    const byUs = new Map<string, number>();
    const read = createFraming((head, body) => byUs.set(idOf(head), body.length));
    read(Buffer.concat(sent.map(requestOf)));
    expect(byUs).toEqual(byNode);
  });

  test('refuses a chunked body, which it could not tell the end of', () => {
    const read = createFraming(() => {});
    const chunked = 'HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n';
    expect(() => read(Buffer.from(chunked))).toThrow('Content-Length');
  });
});
