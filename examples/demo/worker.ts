/**
 * The worker: an app of its own, in its own process. It serves `/walk`, an iterativeTask over every
 * file, which enqueues one task a directory along the way; `/checksum`, which does that task; and
 * `/probe`, which does nothing. It tells the demo by IPC what it sees, and ends when the demo does.
 */
import { createHash } from 'node:crypto';
import { once } from 'node:events';
import { createServer, type IncomingMessage } from 'node:http';
import type { AddressInfo } from 'node:net';
import { type BatchItem, createClient, type NewTask } from 'errand/client';
import { createWorker } from 'errand/handler';
import { toNodeHandler } from 'errand/handler/node';
import { z } from 'zod';
import { checksumDirectory } from './checksum.ts';
import { type Fault, faultOfStep, faultOfTask, SHORT_DEADLINE_SECONDS } from './faults.ts';
import { type FromWorker, newSeen, QUEUE } from './messages.ts';
import { openResults } from './results.ts';
import { directoryOf, fetchFiles } from './walk.ts';

const { DEMO_ROOT = '', DEMO_RESULTS = '', ERRAND_URL = '', ERRAND_KEY = '' } = process.env;
const BATCH = 500;
const TELL_EVERY_MS = 100;

const server = createServer().listen(0, '127.0.0.1');
await once(server, 'listening');
const publicUrl = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;

const results = await openResults(DEMO_RESULTS);
const client = createClient({ url: ERRAND_URL, key: ERRAND_KEY });
const errand = createWorker({ issuer: ERRAND_URL, publicUrl });
const seen = newSeen();

const walk = errand.iterativeTask<string>({
  batch: BATCH,
  fetchBatch: (after, limit) => fetchFiles(DEMO_ROOT, after, limit),
  work: async (files) => {
    const directories = [...new Set(files.map(directoryOf))];
    const items = await client.enqueueBatch(QUEUE, directories.map(checksumTask));
    const refused = items.find((item) => !isThere(item));
    if (refused) throw new Error(`A task was refused: ${JSON.stringify(refused)}`);
  },
});

const checksum = errand.task(
  async ({ directory }) => {
    const checksums = await checksumDirectory(DEMO_ROOT, directory);
    const isNew = await results.record({ directory, checksums });
    if (!isNew) seen.repeated++;
    else {
      seen.directories++;
      seen.files += Object.keys(checksums).length;
    }
    return { files: Object.keys(checksums).length };
  },
  { input: z.object({ directory: z.string() }) },
);

const handlers: Record<string, typeof walk> = {
  '/walk': walk,
  '/checksum': checksum,
  '/probe': errand.task(() => undefined),
};

server.on('request', async (incoming, outgoing) => {
  const handler = handlers[incoming.url ?? ''];
  if (!handler) return outgoing.writeHead(404).end();
  if (incoming.url === '/probe') tellArrival(incoming);
  else seen.calls++;
  const fault = faultOf(incoming);
  if (fault) seen.faults[fault]++;
  if (fault === 'status-500') return outgoing.writeHead(500).end('This fails on purpose');
  if (fault === 'timeout') return once(outgoing, 'close'); // The service hangs up at its deadline.
  await toNodeHandler(async (request) => {
    const response = await handler(request);
    if (fault === 'dropped') await once(outgoing.destroy(), 'close');
    return response;
  })(incoming, outgoing);
});

/** The name makes it one task a directory, though batches share directories and steps repeat. */
function checksumTask(directory: string): NewTask {
  const name = createHash('sha256').update(directory).digest('hex').slice(0, 32);
  const willTimeOut = faultOfTask(name) === 'timeout';
  return {
    name,
    url: `${publicUrl}/checksum`,
    json: { directory },
    ...(willTimeOut ? { dispatchDeadlineSeconds: SHORT_DEADLINE_SECONDS } : {}),
  };
}

function isThere(item: BatchItem): boolean {
  return item.task !== undefined || item.problem.code === 'name-taken';
}

/** Only the first attempt goes wrong. */
function faultOf({ url, headers }: IncomingMessage): Fault | null {
  if (headers['errand-attempt'] !== '1') return null;
  if (url === '/walk') return faultOfStep(Number(headers['errand-step']));
  return url === '/checksum' ? faultOfTask(String(headers['errand-task-name'])) : null;
}

/** The monotonic clock, which all processes of a machine share. */
function tellArrival({ headers }: IncomingMessage): void {
  const at = process.hrtime.bigint().toString();
  tell({ kind: 'arrived', taskId: String(headers['errand-task-id']), at });
}

function tell(message: FromWorker): void {
  process.send?.(message);
}

setInterval(() => tell({ kind: 'seen', seen }), TELL_EVERY_MS).unref();
process.once('disconnect', () => process.exit());
process.on('SIGINT', () => {}); // Ctrl-C is the demo's to handle: it ends us in its order.
tell({ kind: 'listening', url: publicUrl });
