import { createServer as createSecureServer } from 'node:https';
import type { AddressInfo, Server, Socket } from 'node:net';
import { createServer as createTlsServer } from 'node:tls';
import { gzipSync } from 'node:zlib';
import { SIGNED } from '../support/certificates.ts';
import { startRawServer } from '../support/raw-server.ts';
import { SELF_SIGNED } from '../support/self-signed.ts';

/** What a call should come to; a status is that of a `responded` one. */
export type Expected = 'timed_out' | 'unreachable' | number;

export interface HostileTarget {
  name: string;
  url: string;
  expected: Expected;
}

type Behaviour = (socket: Socket) => void;

const OK = 'HTTP/1.1 200 OK\r\n';
const CHUNKED = `${OK}transfer-encoding: chunked\r\n\r\n`;
const REDIRECT = 'HTTP/1.1 307 Temporary Redirect\r\ncontent-length: 0\r\n';
/** 64 MiB of zeros in 64 KiB. */
const GZIP_BOMB = gzipSync(Buffer.alloc(64 * 1024 * 1024));
const GZIP_HEAD = `${OK}content-encoding: gzip\r\ncontent-length: ${GZIP_BOMB.length}\r\n\r\n`;
const DRIP_MS = 20;
const MEGABYTE = Buffer.alloc(1024 * 1024, 'x');

/** What is done once the first bytes of a request are there. */
const OVER_HTTP: [string, Expected, Behaviour][] = [
  // Never an end.
  ['says nothing', 'timed_out', () => {}],
  ['drips a status line', 'timed_out', (s) => drip(s, 'HTTP/1.1 200 ', 'O')],
  ['drips header lines', 'timed_out', (s) => drip(s, OK, 'x-a: b\r\n')],
  ['drips one header', 'timed_out', (s) => drip(s, `${OK}x-a: `, 'b')],
  ['answers 102 for ever', 'timed_out', (s) => drip(s, '', 'HTTP/1.1 102 Processing\r\n\r\n')],
  ['answers 103 for ever', 'timed_out', (s) => drip(s, '', 'HTTP/1.1 103 Early Hints\r\n\r\n')],
  ['answers 100 unasked', 'unreachable', (s) => s.write('HTTP/1.1 100 Continue\r\n\r\n')],
  ['drips a body', 200, (s) => drip(s, `${OK}content-length: 1000000\r\n\r\n`, 'x')],
  ['drips chunks', 200, (s) => drip(s, CHUNKED, '1\r\nx\r\n')],
  ['drips a chunk extension', 200, (s) => drip(s, `${CHUNKED}1;`, 'x')],
  ['drips trailers', 200, (s) => drip(s, `${CHUNKED}0\r\n`, 'x-a: b\r\n')],
  ['holds its body back', 200, (s) => s.write(`${OK}content-length: 5\r\n\r\n`)],
  // Far too much.
  ['sends a body without end', 200, (s) => flood(s, `${OK}\r\n`, MEGABYTE)],
  ['sends chunks without end', 200, (s) => flood(s, CHUNKED, chunk(MEGABYTE))],
  ['sends tiny chunks without end', 200, (s) => flood(s, CHUNKED, '1\r\nx\r\n'.repeat(10_000))],
  ['sends 102 without end', 'timed_out', (s) => flood(s, '', interim(10_000))],
  ['sends headers without end', 'unreachable', (s) => flood(s, OK, 'x-a: b\r\n'.repeat(1_000))],
  ['sends a header without end', 'unreachable', (s) => flood(s, `${OK}x-a: `, MEGABYTE)],
  ['sends trailers without end', 200, (s) => flood(s, `${CHUNKED}0\r\n`, 'x-a: b\r\n'.repeat(99))],
  [
    'sends 10,000 headers',
    'unreachable',
    (s) => s.write(`${OK}${'x-a: b\r\n'.repeat(10_000)}\r\n`),
  ],
  ['sends a gzip bomb', 200, (s) => s.end(Buffer.concat([Buffer.from(GZIP_HEAD), GZIP_BOMB]))],
  // An end where none belongs.
  ['resets at once', 'unreachable', (s) => s.resetAndDestroy()],
  ['closes at once', 'unreachable', (s) => s.end()],
  ['closes in the status line', 'unreachable', (s) => s.end('HTTP/1.1 20')],
  ['closes in the headers', 'unreachable', (s) => s.end(`${OK}x-a: b\r\n`)],
  ['resets in the body', 200, (s) => reset(s, `${OK}content-length: 9\r\n\r\nabc`)],
  ['closes before its content-length', 200, (s) => s.end(`${OK}content-length: 9\r\n\r\nabc`)],
  ['closes before its last chunk', 200, (s) => s.end(`${CHUNKED}3\r\nabc\r\n`)],
  // No HTTP, or hardly.
  ['answers with a body alone', 'unreachable', (s) => s.end('<h1>HTTP/0.9</h1>\r\n')],
  ['answers with zeros', 'unreachable', (s) => s.end(Buffer.alloc(1_000))],
  ['answers as a mail server', 'unreachable', (s) => s.write('220 mail.example ESMTP\r\n')],
  ['answers HTTP/9.9', 'unreachable', (s) => s.end('HTTP/9.9 200 OK\r\n\r\n')],
  ['answers a status of five digits', 'unreachable', (s) => s.end('HTTP/1.1 20000 OK\r\n\r\n')],
  ['answers a request', 'unreachable', (s) => s.end('GET / HTTP/1.1\r\nhost: a\r\n\r\n')],
  ['switches protocols', 'unreachable', (s) => s.write(switching())],
  ['sends two content-lengths', 'unreachable', (s) => s.end(`${OK}${lengths(3, 4)}\r\nabcd`)],
  ['sends a negative content-length', 'unreachable', (s) => s.end(`${OK}${lengths(-1)}\r\n`)],
  ['sends a content-length and chunks', 'unreachable', (s) => s.end(smuggling())],
  ['sends a header with a NUL', 'unreachable', (s) => s.end(`${OK}x-a: b\0c\r\n\r\n`)],
  ['folds a header', 'unreachable', (s) => s.end(`${OK}x-a: b\r\n c\r\n\r\n`)],
  ['sends a chunk of no size', 200, (s) => s.write(`${CHUNKED}zz\r\nabc\r\n0\r\n\r\n`)],
  [
    'sends a chunk larger than numbers go',
    200,
    (s) => s.write(`${CHUNKED}${'f'.repeat(20)}\r\nabc`),
  ],
  // Fair answers that lead nowhere good.
  ['redirects to itself', 307, (s) => s.end(`${REDIRECT}location: /\r\n\r\n`)],
  ['redirects to the metadata', 307, (s) => s.end(`${REDIRECT}location: ${METADATA}\r\n\r\n`)],
  ['answers status 999', 999, (s) => s.end('HTTP/1.1 999 No\r\ncontent-length: 0\r\n\r\n')],
];

const METADATA = 'http://169.254.169.254/latest/meta-data/';

/** Starts every hostile target there is, each on a port of its own. */
export async function startHostileTargets(): Promise<{
  targets: HostileTarget[];
  close(): Promise<void>;
}> {
  const closers: (() => Promise<void>)[] = [];
  const targets: HostileTarget[] = [];
  for (const [name, expected, behave] of OVER_HTTP) {
    const server = await startRawServer(behave);
    closers.push(server.close);
    targets.push({ name, url: server.url, expected });
  }
  for (const [name, server] of secureServers()) {
    const port = await listen(server);
    closers.push(() => new Promise((resolve) => server.close(() => resolve())));
    targets.push({ name, url: `https://localhost:${port}/`, expected: 'unreachable' });
  }
  for (const [name, expected, behave] of OVER_TLS) {
    const server = await startRawServer(behave);
    closers.push(server.close);
    targets.push({ name, url: `https://localhost:${server.port}/`, expected });
  }
  const secure = createSecureServer(SIGNED.good);
  targets.push({
    name: 'speaks TLS where http is called',
    url: `http://127.0.0.1:${await listen(secure)}/`,
    expected: 'unreachable',
  });
  closers.push(() => new Promise((resolve) => secure.close(() => resolve())));
  return {
    targets,
    async close() {
      await Promise.all(closers.map((close) => close()));
    },
  };
}

function secureServers(): [string, Server][] {
  const answer: Parameters<typeof createSecureServer>[1] = (_, response) => response.end();
  return [
    ['has an expired certificate', createSecureServer(SIGNED.expired, answer)],
    ['has a certificate of the future', createSecureServer(SIGNED.early, answer)],
    ['has the certificate of another host', createSecureServer(SIGNED.ofOtherHost, answer)],
    ['has signed its certificate itself', createSecureServer(SELF_SIGNED, answer)],
    ['has no certificate', createTlsServer({})],
    [
      'speaks an old TLS',
      createSecureServer({ ...SIGNED.good, maxVersion: 'TLSv1.1', minVersion: 'TLSv1' }),
    ],
    ['asks for a certificate of ours', requiringCertificate()],
  ];
}

function requiringCertificate(): Server {
  return createSecureServer({ ...SIGNED.good, requestCert: true, rejectUnauthorized: true });
}

/** What is done once the first bytes of a handshake are there. */
const OVER_TLS: [string, Expected, Behaviour][] = [
  ['speaks plain http where TLS is called', 'unreachable', (s) => s.end(`${OK}\r\n`)],
  ['says nothing to a handshake', 'timed_out', () => {}],
  ['drips a handshake', 'timed_out', (s) => drip(s, '\x16\x03\x03\x40\x00', '\x02')],
  ['resets in the handshake', 'unreachable', (s) => reset(s, '\x16\x03\x03')],
  ['answers a handshake with noise', 'unreachable', (s) => s.end(Buffer.alloc(500, 0xab))],
];

/** `first`, and then `more` every few milliseconds until it is cut off. */
function drip(socket: Socket, first: string, more: string): void {
  socket.write(first, 'latin1');
  const timer = setInterval(() => socket.write(more, 'latin1'), DRIP_MS);
  socket.on('close', () => clearInterval(timer));
}

/** `first`, and then `more` as fast as it is taken. */
function flood(socket: Socket, first: string, more: string | Buffer): void {
  socket.write(first);
  const pour = () => {
    while (!socket.destroyed && socket.write(more));
  };
  socket.on('drain', pour);
  pour();
}

function reset(socket: Socket, first: string): void {
  socket.write(first, 'latin1', () => socket.resetAndDestroy());
}

function chunk(bytes: Buffer): Buffer {
  return Buffer.concat([
    Buffer.from(`${bytes.length.toString(16)}\r\n`),
    bytes,
    Buffer.from('\r\n'),
  ]);
}

function interim(count: number): string {
  return 'HTTP/1.1 102 Processing\r\n\r\n'.repeat(count);
}

function switching(): string {
  return 'HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: x\r\n\r\n';
}

function lengths(...values: number[]): string {
  return values.map((value) => `content-length: ${value}\r\n`).join('');
}

function smuggling(): string {
  return `${OK}content-length: 3\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n`;
}

async function listen(server: Server): Promise<number> {
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  return (server.address() as AddressInfo).port;
}
