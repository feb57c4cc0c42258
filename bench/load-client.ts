/**
 * Posts tasks over REST, in a process of its own and on bare sockets, so that the client costs as little
 * as can be of what it measures. Its first argument says to whom.
 */
import { once } from 'node:events';
import { connect, type Socket } from 'node:net';
import { serve } from './child.ts';
import { createFraming } from './framing.ts';
import { BATCH, BATCHES_IN_FLIGHT, type Enqueue } from './row.ts';
import { CONTENT_TYPE, PAYLOAD } from './work.ts';

export interface LoadSettings {
  port: number;
  key: string;
  targetUrl: string;
}

const { port, key, targetUrl } = JSON.parse(process.argv[2]!) as LoadSettings;
const TASK = taskOf(PAYLOAD);
/** The service takes a body of 8 MiB. */
const MOST_BATCH_BYTES = 7 * 1024 * 1024;
const CREATED = Buffer.from('"status":201');

const verbs = {
  /** Enqueues `tasks` tasks by as many clients, each of which sends its next when it is answered. */
  async singles(queue: string, tasks: number, clients: number): Promise<void> {
    const request = post(`/v1/queues/${queue}/tasks`, TASK);
    await run(clients, tasks, () => request, expectCreated);
  },
  /** The same, 1,000 in a request or, of large payloads, as many as a request may hold. */
  async batches(queue: string, tasks: number, payloadBytes?: number): Promise<void> {
    const path = `/v1/queues/${queue}/tasks/batch`;
    const task = taskOfSize(payloadBytes);
    const most = Math.min(BATCH, Math.floor(MOST_BATCH_BYTES / task.length));
    const sizes = Array.from({ length: Math.ceil(tasks / most) }, (_, at) =>
      Math.min(most, tasks - at * most),
    );
    const full = batchOf(path, task, most);
    const next = (at: number) => (sizes[at] === most ? full : batchOf(path, task, sizes[at]!));
    await run(BATCHES_IN_FLIGHT, sizes.length, next, (head, body, at) => {
      expectStatus(head, body, 200);
      const created = occurrences(body, CREATED);
      if (created !== sizes[at]) throw new Error(`${sizes[at]! - created} tasks were refused`);
    });
  },
  /** Enqueues one task over a connection that stays open. */
  async one(queue: string, payloadBytes?: number): Promise<Enqueue> {
    // The service closes a connection that nothing has come over for a while.
    if (idle === null || !idle.isOpen()) idle = await openConnection();
    const request = post(`/v1/queues/${queue}/tasks`, taskOfSize(payloadBytes));
    const sentNs = process.hrtime.bigint();
    const { head, body } = await idle.send(request);
    const acknowledgedNs = process.hrtime.bigint();
    expectCreated(head, body);
    return { taskId: JSON.parse(body.toString()).id, sentNs, acknowledgedNs };
  },
};
export type LoadVerbs = typeof verbs;

let idle: Connection | null = null;
serve(verbs);

/** `count` requests over `lanes` connections, each with one in flight; rejects at the first bad answer. */
async function run(
  lanes: number,
  count: number,
  requestOf: (at: number) => Buffer,
  check: (head: string, body: Buffer, at: number) => void,
): Promise<void> {
  let sent = 0;
  const lane = async () => {
    const { send, close } = await openConnection();
    try {
      while (sent < count) {
        const at = sent;
        sent += 1;
        const { head, body } = await send(requestOf(at));
        check(head, body, at);
      }
    } finally {
      close();
    }
  };
  await Promise.all(Array.from({ length: Math.min(lanes, count) }, lane));
}

interface Connection {
  send(request: Buffer): Promise<{ head: string; body: Buffer }>;
  isOpen(): boolean;
  close(): void;
}

async function openConnection(): Promise<Connection> {
  const socket: Socket = connect({ port, host: '127.0.0.1', noDelay: true });
  await once(socket, 'connect');
  let asked: PromiseWithResolvers<{ head: string; body: Buffer }> | null = null;
  socket.on(
    'data',
    createFraming((head, body) => asked?.resolve({ head, body })),
  );
  socket.on('error', (error) => asked?.reject(error));
  socket.on('close', () => asked?.reject(new Error('The connection was closed')));
  return {
    send(request) {
      asked = Promise.withResolvers();
      socket.write(request);
      return asked.promise;
    },
    isOpen: () => socket.writable,
    close: () => socket.destroy(),
  };
}

function taskOfSize(payloadBytes: number | undefined): string {
  return payloadBytes === undefined ? TASK : taskOf('x'.repeat(payloadBytes));
}

function taskOf(payload: string): string {
  return JSON.stringify({ url: targetUrl, payload, contentType: CONTENT_TYPE });
}

function batchOf(path: string, task: string, size: number): Buffer {
  return post(path, `{"tasks":[${Array.from({ length: size }, () => task).join(',')}]}`);
}

function post(path: string, body: string): Buffer {
  const lines = [
    `POST ${path} HTTP/1.1`,
    `host: 127.0.0.1:${port}`,
    `authorization: Bearer ${key}`,
    'content-type: application/json',
    `content-length: ${Buffer.byteLength(body)}`,
  ];
  return Buffer.from(`${lines.join('\r\n')}\r\n\r\n${body}`);
}

function expectCreated(head: string, body: Buffer): void {
  expectStatus(head, body, 201);
}

function expectStatus(head: string, body: Buffer, status: number): void {
  if (head.startsWith(`HTTP/1.1 ${status} `)) return;
  throw new Error(`Expected ${status}, got ${head.split('\r\n', 1)[0]}: ${body.subarray(0, 500)}`);
}

function occurrences(body: Buffer, part: Buffer): number {
  let count = 0;
  for (let at = body.indexOf(part); at !== -1; at = body.indexOf(part, at + part.length))
    count += 1;
  return count;
}
