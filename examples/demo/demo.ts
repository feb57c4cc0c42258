import { chmodSync, mkdtempSync } from 'node:fs';
import { rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import { createClient, type ErrandClient, type Task } from 'errand/client';
import type { Cleanup } from './cleanup.ts';
import { QUEUE } from './messages.ts';
import { createService, freePort, type Service } from './service.ts';
import { resultsFileOf, startWorker, type WorkerProcess } from './worker-process.ts';

/** Everything that runs: the service and the worker, each a process, and a client. */
export interface Demo {
  /** Holds the service's data dir and log, and the worker's results. */
  folder: string;
  resultsFile: string;
  service: Service;
  worker: WorkerProcess;
  client: ErrandClient;
}

/** Limits that do not limit, but for the concurrency that two cores can serve. */
const LIMITS = {
  maxDispatchesPerSecond: 100_000,
  maxBurstSize: 1_000,
  maxConcurrentDispatches: 64,
};

/** Long enough for the client to outlive a restart of the service. */
const RETRIES = 12;
const LOOK_EVERY_MS = 100;

/**
 * Starts it all over the files below `root`. From the folder to the processes nothing is awaited, so
 * that whenever an interruption comes, `cleanup` holds all that there is to undo.
 */
export async function openDemo(root: string, cleanup: Cleanup): Promise<Demo> {
  const port = await freePort();
  const folder = mkdtempSync(join(tmpdir(), 'errand-demo-'));
  cleanup.add(() => rm(folder, { recursive: true, force: true }));
  chmodSync(folder, 0o755); // As root, the database runs as another user and must get through.

  const service = createService(folder, port);
  cleanup.add(service.stop);
  const { ready, stop } = startWorker(service, root, folder);
  cleanup.add(stop);
  const [worker] = await Promise.all([ready, service.start()]);

  const client = createClient({ url: service.url, key: service.key, retries: RETRIES });
  await client.queues.put(QUEUE, { rateLimits: LIMITS, retry: { minBackoffSeconds: 0.1 } });
  return { folder, resultsFile: resultsFileOf(folder), service, worker, client };
}

/** Enqueues the walk: the one task that all others come from. */
export function startWalk({ client, worker }: Demo): Promise<Task> {
  return client.enqueue(QUEUE, { url: `${worker.url}/walk`, name: 'walk', payload: '' });
}

/** Waits until the walk and every task it enqueued have ended. Returns the walk's task. */
export async function untilDrained({ client }: Demo, walk: Task): Promise<Task> {
  const ended = await client.waitFor(walk, { timeoutMs: 600_000, maxPollMs: LOOK_EVERY_MS });
  for (;;) {
    const { ready, scheduled, leased } = (await client.queues.get(QUEUE)).stats;
    if (ready + scheduled + leased === 0) return ended;
    await pause(LOOK_EVERY_MS);
  }
}
