import { inBatches, type RowSettings, type RowVerbs } from '../row.ts';
import { type CallJob, createSignedCaller, newJob } from '../signed-call.ts';
import { IN_FLIGHT, newId, QUEUE } from '../work.ts';

/** The part of BullMQ's interface that is used: the root of the project does not install it. */
interface BullMq {
  Queue: new (
    name: string,
    options: object,
  ) => {
    add(name: string, job: CallJob): Promise<unknown>;
    addBulk(jobs: { name: string; data: CallJob }[]): Promise<unknown>;
  };
  Worker: new (
    name: string,
    processor: (job: { data: CallJob }) => Promise<void>,
    options: object,
  ) => Worker;
}
interface Worker {
  on(event: 'completed', listener: () => void): void;
  waitUntilReady(): Promise<unknown>;
  close(): Promise<void>;
}

const PACKAGE: string = 'bullmq';

/** What is done is not kept: with every job kept, Redis would hold the whole run in memory. */
const KEEP_NOTHING = { removeOnComplete: { count: 0 }, removeOnFail: { count: 0 } };

export async function openRow({ targetUrl, redisPort }: RowSettings): Promise<RowVerbs> {
  const { Queue, Worker } = (await import(PACKAGE)) as BullMq;
  const { call } = await createSignedCaller();
  const connection = { host: '127.0.0.1', port: redisPort, maxRetriesPerRequest: null };
  const queue = new Queue(QUEUE, { connection });

  const makeCall = ({ data }: { data: CallJob }) => call(data.taskId, data.url, data.payload);
  const startWorker = () =>
    new Worker(QUEUE, makeCall, { connection, concurrency: IN_FLIGHT, ...KEEP_NOTHING });
  let listening: Worker | null = null;

  return {
    fill: (tasks) =>
      inBatches(tasks, (size) =>
        queue.addBulk(
          Array.from({ length: size }, () => ({ name: QUEUE, data: newJob(newId(), targetUrl) })),
        ),
      ),
    async drain(tasks) {
      const done = Promise.withResolvers<void>();
      let completed = 0;
      const worker = startWorker();
      worker.on('completed', () => {
        completed += 1;
        if (completed === tasks) done.resolve();
      });
      await done.promise;
      await worker.close();
    },
    async listen() {
      listening = startWorker();
      await listening.waitUntilReady();
    },
    async enqueue() {
      const taskId = newId();
      const sentNs = process.hrtime.bigint();
      await queue.add(QUEUE, newJob(taskId, targetUrl));
      return { taskId, sentNs, acknowledgedNs: process.hrtime.bigint() };
    },
    async leave() {
      await listening?.close();
    },
  };
}
