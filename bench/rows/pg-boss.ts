import pLimit from 'p-limit';
import { inBatches, type RowSettings, type RowVerbs } from '../row.ts';
import { type CallJob, createSignedCaller, newJob } from '../signed-call.ts';
import { IN_FLIGHT, newId, QUEUE } from '../work.ts';

/** The part of pg-boss's interface that is used: the root of the project does not install it. */
interface PgBossModule {
  PgBoss: new (options: object) => PgBoss;
}
interface PgBoss {
  on(event: 'error', listener: (error: Error) => void): void;
  start(): Promise<unknown>;
  createQueue(name: string, options: object): Promise<void>;
  send(name: string, job: CallJob): Promise<unknown>;
  insert(name: string, jobs: { data: CallJob }[]): Promise<unknown>;
  work(
    name: string,
    options: object,
    handler: (jobs: { data: CallJob }[]) => Promise<void>,
  ): Promise<unknown>;
  offWork(name: string, options: { wait: boolean }): Promise<void>;
}

const PACKAGE: string = 'pg-boss';

/** Four workers fetch and complete 500 at a time; a full batch is followed by the next at once. */
const WORK = {
  batchSize: 500,
  localConcurrency: 4,
  burstWhenBatchFull: true,
  pollingIntervalSeconds: 0.5,
};

export async function openRow({ targetUrl, databaseUrl }: RowSettings): Promise<RowVerbs> {
  const { PgBoss } = (await import(PACKAGE)) as PgBossModule;
  const boss = new PgBoss({
    connectionString: databaseUrl,
    useListenNotify: true,
    supervise: false,
    schedule: false,
  });
  boss.on('error', (error) => console.error(error));
  await boss.start();
  await boss.createQueue(QUEUE, { notify: true });
  const { call } = await createSignedCaller();
  const limit = pLimit(IN_FLIGHT);

  const work = (onCalled: () => void) =>
    boss.work(QUEUE, WORK, async (jobs) => {
      const calls = jobs.map(({ data }) =>
        limit(() => call(data.taskId, data.url, data.payload).then(onCalled)),
      );
      await Promise.all(calls);
    });
  /** Waits for the batches in flight to be completed. */
  const stopWork = () => boss.offWork(QUEUE, { wait: true });

  return {
    fill: (tasks) =>
      inBatches(tasks, (size) =>
        boss.insert(
          QUEUE,
          Array.from({ length: size }, () => ({ data: newJob(newId(), targetUrl) })),
        ),
      ),
    async drain(tasks) {
      const called = Promise.withResolvers<void>();
      let calls = 0;
      await work(() => {
        calls += 1;
        if (calls === tasks) called.resolve();
      });
      await called.promise;
      await stopWork();
    },
    async listen() {
      await work(() => {});
    },
    async enqueue() {
      const taskId = newId();
      const sentNs = process.hrtime.bigint();
      await boss.send(QUEUE, newJob(taskId, targetUrl));
      return { taskId, sentNs, acknowledgedNs: process.hrtime.bigint() };
    },
    leave: stopWork,
  };
}
