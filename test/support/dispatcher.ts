import { createDispatcher, type Dispatcher } from '../../src/dispatch/dispatcher.ts';
import type { Log } from '../../src/log.ts';
import { createSigningThread } from '../../src/dispatch/signing-thread.ts';
import { createSignerDirectory } from '../../src/signers.ts';
import { type Database, openDatabase } from '../../src/store/database.ts';
import { type Enqueued, enqueueTasks, type NewTask } from '../../src/store/enqueue.ts';
import { createKeyring } from '../../src/store/keyring.ts';
import { createVault } from '../../src/store/vault.ts';
import { createTestDatabase } from './database.ts';
import { newTask } from './new-task.ts';

export const silentLog: Log = { debug() {}, info() {}, warn() {}, error() {} };

export interface Bench {
  database: Database;
  databaseUrl: string;
  dispatcher: Dispatcher;
  /** Enqueues as the API does: insert, then wake. Returns the ids. */
  enqueue(...tasks: Partial<NewTask>[]): Promise<string[]>;
  /** Another dispatcher on the same database. */
  startDispatcher(overrides?: Partial<Parameters<typeof createDispatcher>[0]>): Promise<Dispatcher>;
  close(): Promise<void>;
}

/** A fresh database with a dispatcher at work on it. */
export async function startBench(
  overrides: Partial<Parameters<typeof createDispatcher>[0]> = {},
): Promise<Bench> {
  const test = await createTestDatabase();
  // So long a bound, for a statement of a test must not fail only because the machine is busy.
  const database = openDatabase({ url: test.url, connections: 8, name: 'test', timeoutMs: 10_000 });
  const dispatchers: Dispatcher[] = [];
  const signingThread = createSigningThread();

  async function startDispatcher(more = {}): Promise<Dispatcher> {
    const dispatcher = createDispatcher({
      database,
      pool: 'default',
      host: 'test',
      pid: process.pid,
      publicUrl: 'http://127.0.0.1:8484',
      concurrency: 64,
      takeoverMs: 10_000,
      isSole: false,
      targetRules: { allow: ['loopback'] },
      proxy: null,
      ca: null,
      signerOf: createSignerDirectory(database, signingThread),
      keyring: createKeyring(database, createVault([])),
      log: silentLog,
      ...overrides,
      ...more,
    });
    await dispatcher.start();
    dispatchers.push(dispatcher);
    return dispatcher;
  }

  const dispatcher = await startDispatcher();
  return {
    database,
    databaseUrl: test.url,
    dispatcher,
    startDispatcher,
    async enqueue(...tasks) {
      const rows = tasks.map((fields) => newTask(fields));
      const results = await database.run((sql) => enqueueTasks(sql, rows));
      dispatcher.wake(results.map((result, index) => wakeUpOf(rows[index]!, result)));
      return results.map(({ taskId }) => taskId);
    },
    async close() {
      await Promise.all(dispatchers.map((d) => d.drain(0)));
      await signingThread.close();
      await database.close();
      await test.drop();
    },
  };
}

function wakeUpOf(task: NewTask, result: Enqueued) {
  if (result.kind !== 'created') throw new Error(`expected created, got ${result.kind}`);
  const { shard, queue, rank } = task;
  return { shard, queue, rank, seq: result.seq, dueInSeconds: result.dueInSeconds };
}
