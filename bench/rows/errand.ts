import { mkdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import type { Cleanup } from '../../examples/demo/cleanup.ts';
import { createService, freePort } from '../../examples/demo/service.ts';
import { createClient, type ErrandClient } from '../../src/client/index.ts';
import { type Remote, startChild } from '../child.ts';
import type { LoadSettings, LoadVerbs } from '../load-client.ts';
import { PROGRAM } from '../program.ts';
import type { RowVerbs } from '../row.ts';
import type { Target } from '../start.ts';
import { QUEUE } from '../work.ts';

/** Of a rate and of concurrency, that do not limit but have to be kept. */
export const RATE_LIMITS = {
  maxDispatchesPerSecond: 1_000_000,
  maxBurstSize: 1_000_000,
  maxConcurrentDispatches: 10_000,
};
const LOOK_EVERY_MS = 5;

export interface ErrandRow extends Remote<Required<RowVerbs>> {
  pid: number;
  key: string;
  databaseUrl: string;
  client: ErrandClient;
  load: Remote<LoadVerbs>;
  /** Enqueues tasks one a request by as many clients while they are dispatched; returns when all have ended. */
  sustain(tasks: number, clients: number): Promise<void>;
  /** Enqueues tasks one a request by as many clients while the queue is paused. */
  enqueueSingles(tasks: number, clients: number): Promise<void>;
}

/**
 * The real service as a process of its own, as `npm start` runs it: embedded Postgres with fsync, attempt
 * log, retention, API and dispatcher in one process, every setting at its default.
 */
export async function startErrand(
  folder: string,
  target: Target,
  cleanup: Cleanup,
): Promise<ErrandRow> {
  await mkdir(folder, { mode: 0o755 });
  const service = createService(folder, await freePort(), PROGRAM);
  cleanup.add(service.stop);
  await service.start();
  const settings: LoadSettings = {
    port: Number(new URL(service.url).port),
    key: service.key,
    targetUrl: target.url,
  };
  const load = await startChild<LoadVerbs>('./load-client.ts', [JSON.stringify(settings)], cleanup);
  const client = createClient({ url: service.url, key: service.key });
  const { queues } = client;
  await queues.put(QUEUE, { rateLimits: RATE_LIMITS });

  /** Statistics are asked for only when the target has seen every call, so that they cost nothing before. */
  async function untilEnded(tasks: number): Promise<void> {
    await target.ask.reached(tasks);
    for (;;) {
      const { ready, leased, scheduled } = (await queues.get(QUEUE)).stats;
      if (ready + leased + scheduled === 0) return;
      await pause(LOOK_EVERY_MS);
    }
  }

  return {
    pid: service.pid()!,
    key: service.key,
    databaseUrl: await databaseUrlOf(join(folder, 'data')),
    client,
    load: load.ask,
    async fill(tasks) {
      await queues.pause(QUEUE);
      await load.ask.batches(QUEUE, tasks);
    },
    async drain(tasks) {
      await queues.resume(QUEUE);
      await untilEnded(tasks);
    },
    async sustain(tasks, clients) {
      await queues.resume(QUEUE);
      await load.ask.singles(QUEUE, tasks, clients);
      await untilEnded(tasks);
    },
    async enqueueSingles(tasks, clients) {
      await queues.pause(QUEUE);
      await load.ask.singles(QUEUE, tasks, clients);
    },
    async listen() {
      await queues.resume(QUEUE);
    },
    enqueue: () => load.ask.one(QUEUE),
    async leave() {},
  };
}

/** The service makes its own password and port, and keeps both in its data dir. */
async function databaseUrlOf(dataDir: string): Promise<string> {
  const read = async (name: string) => (await readFile(join(dataDir, name), 'utf8')).trim();
  const [password, port] = await Promise.all([read('postgres-password'), read('postgres-port')]);
  return `postgres://errand:${password}@127.0.0.1:${port}/errand`;
}
