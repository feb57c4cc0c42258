/**
 * The typed client of the REST API, on web `fetch` alone: it runs in Node, Deno, Bun, browsers and
 * edge runtimes. Every call goes through `transport.ts`, which bounds, repeats and explains.
 */
import { LIMIT } from '../protocol/limits.ts';
import type { Problem } from '../protocol/problem.ts';
import type { Attempt, DispatcherInfo, Page, Task, TaskState } from '../protocol/resources.ts';
import { type CalendarsClient, createCalendarsClient } from './calendars.ts';
import { createListing, type Listing } from './listing.ts';
import { type NewTask, toCreateTask } from './new-task.ts';
import { type TaskOutput, toTaskOutput } from './output.ts';
import { queuePath, taskPath } from './paths.ts';
import { createQueuesClient, type QueuesClient } from './queues.ts';
import { readJson } from './read-json.ts';
import { type Call, type ClientOptions, createTransport } from './transport.ts';
import { type WaitOptions, waitForTask } from './wait.ts';

/** What became of one task of a batch, in the batch's order. */
export type BatchItem =
  | { status: 200 | 201; task: Task }
  | { status: number; problem: Problem; task?: undefined };

export interface EnqueueOptions {
  /** 1 to 255 printable ASCII characters, unique in the queue for 24 h. Default: a random one. */
  idempotencyKey?: string;
}

export interface TaskFilters {
  queue?: string;
  state?: TaskState;
  owner?: string;
  /** Where the page starts: the `nextCursor` of the one before. */
  cursor?: string;
  /** Items a page: 1 to 200, 50 unless said. A page may hold fewer though more follow. */
  limit?: number;
}

/** Every method throws an `ErrandApiError`, `ErrandTimeoutError` or `ErrandConnectionError`. */
export interface ErrandClient {
  /**
   * Enqueues a task; when it returns, the task is durable. It always carries an Idempotency-Key (a
   * random one unless given), so it is repeated safely when an answer is lost: it enqueues once.
   * With a key of your own that holds across processes, for 24 h; the first task is returned then.
   */
  enqueue(queue: string, task: NewTask, options?: EnqueueOptions): Promise<Task>;
  /**
   * Enqueues up to 1,000 tasks, of 8 MiB together, in one request, as safely as `enqueue`. One that is
   * refused does not stop the others: each item has its own status (one with 503 is yours to repeat).
   */
  enqueueBatch(
    queue: string,
    tasks: readonly NewTask[],
    options?: EnqueueOptions,
  ): Promise<BatchItem[]>;
  /** The task; its payload only with `view: 'full'`. `not-found` when there is none. */
  get(id: string, options?: { view?: 'basic' | 'full' }): Promise<Task>;
  /** Newest first: one page when awaited, every task when iterated. */
  list(filters?: TaskFilters): Listing<Task>;
  /** Dispatches that have ended, newest first: one page when awaited, every one when iterated. */
  attempts(id: string, options?: { cursor?: string; limit?: number }): Listing<Attempt>;
  /** What the worker answered when it ended. `not-found` while there is nothing. */
  output(id: string): Promise<TaskOutput>;
  /** Ends a waiting task at once, and one in flight with its attempt. Leaves an ended one alone. */
  cancel(id: string): Promise<Task>;
  /** Makes a task due now that waits for its time or its retry. `task-leased` while in flight. */
  run(id: string): Promise<Task>;
  /** Makes a failed or cancelled task ready again, with all its attempts. `task-live` before. */
  retry(id: string): Promise<Task>;
  /** Removes the task and its record. `task-leased` while in flight: then it is being cancelled. */
  delete(id: string): Promise<void>;
  /**
   * Looks at the task, ever less often, until it has `succeeded`, `failed` or been `cancelled`, and
   * returns it. Throws an `ErrandTimeoutError` when that is not so in time; the task goes on.
   */
  waitFor(task: string | Pick<Task, 'id'>, options?: WaitOptions): Promise<Task>;
  queues: QueuesClient;
  calendars: CalendarsClient;
  /** Every dispatcher process and the shards it owns, whatever the key's project. */
  dispatchers(): Promise<DispatcherInfo[]>;
}

/**
 * Makes a client. Nothing is sent before the first call, and there is nothing to close.
 *
 * @throws TypeError here and now, when an option is missing or wrong.
 *
 * @example
 * const { ERRAND_ADMIN_KEY: key = '' } = process.env;
 * const client = createClient({ url: 'http://127.0.0.1:8484', key });
 * const task = await client.enqueue('default', {
 *   url: 'http://127.0.0.1:3000/tasks/email',
 *   json: { to: 'ada@example.com' },
 * });
 * const { state } = await client.waitFor(task, { timeoutMs: 30_000 });
 */
export function createClient(options: ClientOptions): ErrandClient {
  const send = createTransport(options);
  const read = async <T>(path: string, query?: Call['query']): Promise<T> =>
    readJson<T>(await send({ method: 'GET', path, query, isRepeatable: true }));
  const change = async <T>(method: 'POST' | 'DELETE', path: string): Promise<T> =>
    readJson<T>(await send({ method, path, isRepeatable: false }));
  const list = <T>(path: string, { cursor, ...query }: ListQuery = {}): Listing<T> =>
    createListing((at) => read<Page<T>>(path, { ...query, cursor: at }), cursor);

  const client: ErrandClient = {
    async enqueue(queue, task, { idempotencyKey = crypto.randomUUID() } = {}) {
      const path = `${queuePath(queue)}/tasks`;
      const body = toCreateTask(task);
      return readJson(
        await send({ method: 'POST', path, body, idempotencyKey, isRepeatable: true }),
      );
    },
    async enqueueBatch(queue, tasks, { idempotencyKey = crypto.randomUUID() } = {}) {
      if (tasks.length > LIMIT.batchItems) {
        throw new TypeError(`A batch takes up to ${LIMIT.batchItems} tasks, got ${tasks.length}`);
      }
      const path = `${queuePath(queue)}/tasks/batch`;
      const body = { tasks: tasks.map(toCreateTask) };
      const answer = await send({ method: 'POST', path, body, idempotencyKey, isRepeatable: true });
      return readJson<{ items: BatchItem[] }>(answer).items;
    },
    get: async (id, { view } = {}) => read(taskPath(id), { view }),
    list: (filters = {}) => list('/v1/tasks', { ...filters }),
    attempts: (id, options) => list(`${taskPath(id)}/attempts`, options),
    output: async (id) => {
      const path = `${taskPath(id)}/output`;
      return toTaskOutput(await send({ method: 'GET', path, isRepeatable: true }));
    },
    cancel: async (id) => change('POST', `${taskPath(id)}/cancel`),
    run: async (id) => change('POST', `${taskPath(id)}/run`),
    retry: async (id) => change('POST', `${taskPath(id)}/retry`),
    delete: async (id) => void (await change('DELETE', taskPath(id))),
    async waitFor(task, options) {
      const id = typeof task === 'string' ? task : task.id;
      return waitForTask(() => client.get(id), options);
    },
    queues: createQueuesClient(send),
    calendars: createCalendarsClient(send),
    dispatchers: async () => (await read<Page<DispatcherInfo>>('/v1/dispatchers')).items,
  };
  return client;
}

type ListQuery = Record<string, string | number | undefined> & { cursor?: string };
