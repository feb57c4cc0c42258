import type { IncomingMessage } from 'node:http';
import { createServer } from 'node:https';
import { createServer as createTcpServer } from 'node:net';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { setQueuePaused } from '../../src/store/queue-change.ts';
import { verifyRooms } from '../../src/store/verify.ts';
import { type Bench, startBench } from '../support/dispatcher.ts';
import { SELF_SIGNED } from '../support/self-signed.ts';
import { startTarget, type Target } from '../support/target.ts';
import { until } from '../support/until.ts';
import { setFlow, untilRows } from './flow-bench.ts';
import { cleanups, listen } from './post-fixture.ts';

/** Longer than any claim stays fresh, and than an owner is certain of its shards. */
const FREEZE_MS = 60_000;

let bench: Bench;
let target: Target;
let slow: SlowTarget;
let frozenMs: number;

beforeEach(async () => {
  frozenMs = 0;
  [bench, target, slow] = await Promise.all([startBench(), startTarget(), startSlowTarget()]);
  await bench.dispatcher.drain(0);
  const monotonic = () => performance.now() + frozenMs;
  bench.dispatcher = await bench.startDispatcher({ monotonic, ca: SELF_SIGNED.cert });
});

afterEach(async () => {
  expect((await bench.database.run(verifyRooms)).problems).toEqual([]);
  await bench.close();
  await target.close();
});

describe('a process that was frozen between a claim and its call', () => {
  test('sends nothing once the connection is there, and gives the task back unattempted', async () => {
    await bench.enqueue({ url: slow.url });
    await until(() => slow.isAsked(), { what: 'a connection that waits' });
    const pause = (paused: boolean) =>
      bench.database.run((sql) =>
        setQueuePaused(sql, { project: 'default', name: 'default', paused }),
      );
    await pause(true);
    frozenMs += FREEZE_MS;
    slow.connect();
    await untilRows(bench, 'ready', 1);
    expect(slow.attempts).toEqual([]);
    await pause(false);
    bench.dispatcher.lookNow();
    await untilRows(bench, 'finished', 1);
    expect(slow.attempts).toEqual(['1']);
  });

  test.each([false, true])(
    'and that was struck meanwhile counts as one owner of a flow key, ordered: %s',
    async (ordered) => {
      target.answer = (_, response) => void setTimeout(() => response.end(), 20);
      await setFlow(bench, { maxConcurrentDispatches: 1, ordered });
      await bench.enqueue({ url: slow.url, flowKey: 'a' });
      await until(() => slow.isAsked(), { what: 'a connection that waits' });
      const paths = Array.from({ length: 60 }, (_, place) => `/${place}`);
      await bench.enqueue(...paths.map((path) => ({ url: target.url + path, flowKey: 'a' })));
      await untilRows(bench, 'parked', paths.length);
      await bench.database.run((sql) => sql`delete from errand.dispatcher`);
      await until(hasOwner, { what: 'a dispatcher that began anew' });
      // Once another key is called it has read what there is of the flow.
      await bench.enqueue({ url: target.url, flowKey: 'b' });
      await target.arrived(1);
      frozenMs += FREEZE_MS;
      slow.connect();
      await untilRows(bench, 'finished', 2 + paths.length);
      expect(target.inFlight.most).toBe(1);
      expect(slow.attempts).toEqual(['1']);
      if (ordered) expect(target.arrivals.map(({ path }) => path)).toEqual(['/', ...paths]);
    },
  );
});

async function hasOwner(): Promise<boolean> {
  const [row] = await bench.database.run(
    (sql) => sql`select from errand.ownership o join errand.dispatcher d on d.id = o.dispatcher`,
  );
  return row !== undefined;
}

interface SlowTarget {
  url: string;
  /** The attempt number of each call that arrived. */
  attempts: unknown[];
  /** True while a connection waits for its handshake. */
  isAsked(): boolean;
  /** From now on handshakes are made at once. */
  connect(): void;
}

/** Accepts connections, and makes none of them usable before it is told to. */
async function startSlowTarget(): Promise<SlowTarget> {
  const attempts: unknown[] = [];
  const open = Promise.withResolvers<void>();
  let asked = 0;
  const secure = createServer(SELF_SIGNED, (request: IncomingMessage, response) => {
    attempts.push(request.headers['errand-attempt']);
    response.end();
  });
  const server = createTcpServer((socket) => {
    asked += 1;
    socket.on('error', () => {});
    cleanups.push(async () => void socket.destroy());
    void open.promise.then(() => secure.emit('connection', socket));
  });
  const url = `https://127.0.0.1:${await listen(server)}`;
  return { url, attempts, isAsked: () => asked > 0, connect: open.resolve };
}
