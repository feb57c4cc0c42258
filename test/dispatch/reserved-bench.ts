import { createApi } from '../../src/api/app.ts';
import type { Router } from '../../src/api/router.ts';
import type { Dispatcher } from '../../src/dispatch/dispatcher.ts';
import type { Reserve } from '../../src/model.ts';
import { type Database, openDatabase } from '../../src/store/database.ts';
import { type Bench, silentLog, startBench } from '../support/dispatcher.ts';
import { startTarget, type Target } from '../support/target.ts';
import { until } from '../support/until.ts';

const ADMIN_KEY = 'a-key-for-tests-of-at-least-24-characters';

export interface ReservedBench extends Bench {
  target: Target;
  api: Router;
  /** Reservations that the dispatcher has given so far. */
  reserved(): number;
  reserve: Reserve;
  /** Creates a task of the default queue for this path of the target. */
  create(path: string, fields?: object): Promise<{ status: number; body: { id: string } }>;
  call(method: string, path: string, body?: object, headers?: object): Promise<Response>;
  limit(rateLimits: object, settings?: object): Promise<void>;
  /** Has the dispatcher learn the queue; resolves when it would reserve a task of it. */
  warm(): Promise<void>;
  /** Resolves when it would reserve one again: nothing waits, and a place is free. */
  untilWanted(): Promise<void>;
  /** The claims by whose numbers there are leases: those of reservations are negative. */
  claims(): Promise<number[]>;
  rows(table: string): Promise<number>;
}

export interface ReservedOptions {
  dispatcher?: Parameters<typeof startBench>[0];
  /** Where the API's database is reached. Default: directly. */
  proxied?: (url: string) => Promise<string>;
  timeoutMs?: number;
  connections?: number;
}

/** One dispatcher with an API in its process, as main composes them. */
export async function startReservedBench(options: ReservedOptions = {}): Promise<ReservedBench> {
  const [bench, target] = await Promise.all([startBench(options.dispatcher), startTarget()]);
  const url = (await options.proxied?.(bench.databaseUrl)) ?? bench.databaseUrl;
  const { connections = 10, timeoutMs = 10_000 } = options;
  const database: Database = openDatabase({ url, connections, name: 'api', timeoutMs });
  let reserved = 0;
  let dispatcher: Dispatcher = bench.dispatcher;
  const reserve: Reserve = (task) => {
    const reservation = dispatcher.reserve(task);
    if (reservation !== null) reserved += 1;
    return reservation;
  };
  const api = createApi({
    database,
    adminKey: ADMIN_KEY,
    publicUrl: 'http://127.0.0.1:8484',
    wake: (wakeUps) => void dispatcher.wake(wakeUps),
    reserve,
    isReady: async () => ({ ready: true }),
    log: silentLog,
    isDevelopment: true,
  });

  const self: ReservedBench = {
    ...bench,
    target,
    api,
    reserve,
    reserved: () => reserved,
    get dispatcher() {
      return dispatcher;
    },
    set dispatcher(next) {
      dispatcher = next;
    },
    async call(method, path, body, headers = {}) {
      const auth = { authorization: `Bearer ${ADMIN_KEY}`, 'content-type': 'application/json' };
      const init = { method, headers: { ...auth, ...headers } };
      return api.request(path, body === undefined ? init : { ...init, body: JSON.stringify(body) });
    },
    async create(path, fields = {}) {
      const { headers, ...rest } = fields as { headers?: object };
      const body = { url: target.url + path, payload: 'payload', ...rest };
      const response = await self.call('POST', '/v1/queues/default/tasks', body, headers);
      return { status: response.status, body: (await response.json()) as { id: string } };
    },
    async limit(rateLimits, settings = {}) {
      const all = { rateLimits, ...settings };
      const response = await self.call('PATCH', '/v1/queues/default', all);
      if (response.status !== 200) throw new Error(await response.text());
    },
    async warm() {
      const before = target.arrivals.length;
      await self.create('/warm');
      await target.arrived(before + 1);
      await self.untilWanted();
    },
    async untilWanted() {
      const { shard } = await one<{ shard: number }>('select shard from errand.queue where id = 1');
      const task = { shard, queue: 1, rank: 0, flowKey: null };
      const isWanted = () => {
        const reservation = dispatcher.reserve(task);
        reservation?.release();
        return reservation !== null;
      };
      await until(async () => (await self.rows('lease')) === 0 && isWanted());
    },
    async claims() {
      const rows = await bench.database.run(
        (sql) => sql<{ claim: number }[]>`select claim::integer from errand.lease order by seq`,
      );
      return rows.map(({ claim }) => claim);
    },
    async rows(table) {
      const query = `select count(*)::integer as count from errand.${table}`;
      return (await one<{ count: number }>(query)).count;
    },
    async close() {
      await bench.close();
      await Promise.all([database.close(0), target.close()]);
    },
  };

  async function one<Row>(query: string): Promise<Row> {
    const [row] = await bench.database.run((sql) => sql.unsafe<Row[] & object[]>(query));
    return row as Row;
  }

  return self;
}

/** The target holds its calls; returns the way to answer those that it holds, and all to come. */
export function holdCalls(target: Target): () => void {
  const held: (() => void)[] = [];
  target.answer = (_, response) => void held.push(() => response.end());
  return () => {
    target.answer = (_, response) => void response.end();
    for (const end of held.splice(0)) end();
  };
}
