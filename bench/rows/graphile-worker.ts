import { setTimeout as pause } from 'node:timers/promises';
import { connect, type Sql } from '../../src/store/database.ts';
import { inBatches, type RowSettings, type RowVerbs } from '../row.ts';
import { type CallJob, createSignedCaller, newJob } from '../signed-call.ts';
import { IN_FLIGHT, newId } from '../work.ts';

/** The part of graphile-worker's interface that is used: the root of the project does not install it. */
interface GraphileWorker {
  run(options: object): Promise<{ stop(): Promise<void> }>;
  makeWorkerUtils(options: object): Promise<{
    migrate(): Promise<void>;
    addJob(task: string, job: CallJob): Promise<unknown>;
    addJobs(jobs: { identifier: string; payload: CallJob }[]): Promise<unknown>;
  }>;
  Logger: new (factory: () => () => void) => object;
}

const PACKAGE: string = 'graphile-worker';
const TASK = 'call';

/** Source of the settings: worker.graphile.org/docs/performance, section "Batching". */
const SETTINGS = {
  concurrentJobs: IN_FLIGHT,
  maxPoolSize: 10,
  localQueue: { size: 500 },
  completeJobBatchDelay: 0,
  failJobBatchDelay: 0,
};

export async function openRow({ targetUrl, databaseUrl }: RowSettings): Promise<RowVerbs> {
  process.env.NO_LOG_SUCCESS = '1';
  const { run, makeWorkerUtils, Logger } = (await import(PACKAGE)) as GraphileWorker;
  const { call } = await createSignedCaller();
  const logger = new Logger(() => () => {});
  const utils = await makeWorkerUtils({ connectionString: databaseUrl, logger });
  await utils.migrate();
  const sql = connect({ url: databaseUrl!, connections: 1, name: 'bench' });

  const start = (onCalled: () => void) =>
    run({
      preset: { worker: { connectionString: databaseUrl, ...SETTINGS } },
      noHandleSignals: true,
      logger,
      taskList: {
        async [TASK](job: CallJob) {
          await call(job.taskId, job.url, job.payload);
          onCalled();
        },
      },
    });
  let listening: { stop(): Promise<void> } | null = null;

  return {
    fill: (tasks) =>
      inBatches(tasks, (size) =>
        utils.addJobs(
          Array.from({ length: size }, () => ({
            identifier: TASK,
            payload: newJob(newId(), targetUrl),
          })),
        ),
      ),
    async drain(tasks) {
      const called = Promise.withResolvers<void>();
      let calls = 0;
      const runner = await start(() => {
        calls += 1;
        if (calls === tasks) called.resolve();
      });
      await called.promise;
      await untilEmpty(sql);
      await runner.stop();
    },
    async listen() {
      listening = await start(() => {});
    },
    async enqueue() {
      const taskId = newId();
      const sentNs = process.hrtime.bigint();
      await utils.addJob(TASK, newJob(taskId, targetUrl));
      return { taskId, sentNs, acknowledgedNs: process.hrtime.bigint() };
    },
    async leave() {
      await listening?.stop();
    },
  };
}

/** Completions are written behind the calls; only then is the job ended. */
async function untilEmpty(sql: Sql): Promise<void> {
  for (;;) {
    const rows = await sql`select from graphile_worker._private_jobs limit 1`;
    if (rows.length === 0) return;
    await pause(5);
  }
}
