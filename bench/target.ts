/**
 * The target of every row, in a process of its own: reads each request to its end, answers 200 and
 * counts. It is written on bare sockets, since it shares the processors with what is measured:
 * node:http would cost as much as the queue. `GET /count` tells the count over HTTP too.
 */
import { once } from 'node:events';
import { type AddressInfo, createServer, type Socket } from 'node:net';
import { serve } from './child.ts';
import { createFraming } from './framing.ts';

const OK = 'HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n';
const TASK_ID = /\r\nerrand-task-id: *([^\r]+)/i;

let count = 0;
/** How long the work of a call takes; its answer comes at the end of it. */
let workMs = 0;
let awaited: { calls: number; resolve: (atNs: bigint) => void } | null = null;
/** Of each task's call, its first byte; only while somebody asks. */
let arrivals: Map<string, PromiseWithResolvers<bigint>> | null = null;

const verbs = {
  url: () => `http://127.0.0.1:${(server.address() as AddressInfo).port}/`,
  /** Counts from 0 again. */
  reset() {
    count = 0;
  },
  count: () => count,
  /** From here on, each call is answered after so many milliseconds. */
  takes(milliseconds: number) {
    workMs = milliseconds;
  },
  /** Resolves when that many calls have come since the reset, to when the last did. */
  reached(calls: number): Promise<bigint> {
    if (count >= calls) return Promise.resolve(process.hrtime.bigint());
    return new Promise((resolve) => {
      awaited = { calls, resolve };
    });
  },
  /** Whether the first bytes of calls are stamped, by their Errand-Task-Id. */
  stamp(isOn: boolean) {
    arrivals = isOn ? new Map() : null;
  },
  /** When the first byte of the task's call came, in ns of the machine's monotonic clock. */
  arrival: (taskId: string) => arrivalOf(taskId).promise,
};
export type TargetVerbs = typeof verbs;

const server = createServer({ noDelay: true }, answer);
server.listen(0, '127.0.0.1');
await once(server, 'listening');
serve(verbs);

function answer(socket: Socket): void {
  let answers = '';
  let firstByteNs: bigint | null = null;
  const read = createFraming((head) => {
    if (head.startsWith('GET ')) {
      answers += countAnswer();
      return;
    }
    if (workMs === 0) answers += OK;
    else setTimeout(() => socket.write(OK, 'latin1'), workMs);
    if (arrivals !== null) {
      arrivalOf(TASK_ID.exec(head)?.[1] ?? '').resolve(firstByteNs!);
      firstByteNs = null;
    }
    count += 1;
    if (count === awaited?.calls) awaited.resolve(process.hrtime.bigint());
  });
  socket.on('data', (chunk) => {
    if (arrivals !== null) firstByteNs ??= process.hrtime.bigint();
    read(chunk);
    if (answers === '') return;
    socket.write(answers, 'latin1');
    answers = '';
  });
  socket.on('error', () => {}); // The caller is gone; what it sent is counted.
}

function countAnswer(): string {
  const body = String(count);
  return `HTTP/1.1 200 OK\r\ncontent-length: ${body.length}\r\n\r\n${body}`;
}

function arrivalOf(taskId: string): PromiseWithResolvers<bigint> {
  if (arrivals === null) throw new Error('Calls are not stamped: ask for `stamp` first');
  const known = arrivals.get(taskId) ?? Promise.withResolvers<bigint>();
  arrivals.set(taskId, known);
  return known;
}
