import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { DEFAULT_FLOW_LIMITS } from '../../src/model.ts';
import type { FlowLimits, QueueSettings } from '../../src/protocol/resources.ts';
import { putQueue } from '../../src/store/queue-change.ts';
import { verifyRooms } from '../../src/store/verify.ts';
import { type Bench, startBench } from '../support/dispatcher.ts';
import { startTarget, type Target } from '../support/target.ts';
import { until } from '../support/until.ts';

let bench: Bench;
let target: Target;

beforeEach(async () => {
  target = await startTarget();
  bench = await startBench();
});

afterEach(async () => {
  expect((await bench.database.run(verifyRooms)).problems).toEqual([]);
  await bench.close();
  await target.close();
});

async function setFlow(
  flow: Partial<FlowLimits> | null,
  settings: Partial<QueueSettings> = {},
): Promise<void> {
  const limits = flow === null ? null : { ...DEFAULT_FLOW_LIMITS, ...flow };
  const queue = { project: 'default', name: 'default', settings: { ...settings, flow: limits } };
  await bench.database.run((sql) => putQueue(sql, queue));
  bench.dispatcher.lookNow();
}

const retrySoon = {
  retry: {
    maxAttempts: 5,
    minBackoffSeconds: 0.3,
    maxBackoffSeconds: 0.3,
    maxDoublings: 0,
    maxRetryDurationSeconds: null,
  },
};

/** Tasks of these keys; the path says key and place. */
const tasks = (...keys: string[]) =>
  keys.map((flowKey, place) => ({ url: `${target.url}/${flowKey}/${place}`, flowKey }));

const times = (count: number, key: string) => Array.from({ length: count }, () => key);

async function count(table: 'parked' | 'finished' | 'ready' | 'lease'): Promise<number> {
  const [row] = await bench.database.run(
    (sql) => sql`select count(*)::integer as rows from ${sql(`errand.${table}`)}`,
  );
  return row!.rows;
}

const finished = (rows: number, timeoutMs = 15_000) =>
  until(async () => (await count('finished')) === rows, { timeoutMs, what: `${rows} finished` });

const paths = () => target.arrivals.map(({ path }) => path);

describe('a queue with limits per flow key', () => {
  test('a blocked key parks its tasks and does not delay another', async () => {
    const blocked: (() => void)[] = [];
    target.answer = ({ path }, response) => {
      if (path.startsWith('/slow')) blocked.push(() => response.end());
      else response.end();
    };
    await setFlow({ maxConcurrentDispatches: 1 });
    await bench.enqueue(...tasks(...times(300, 'slow'), 'quick'));
    await until(() => paths().includes('/quick/300'), { what: 'the other key' });
    expect(paths()).toEqual(['/slow/0', '/quick/300']);
    await until(async () => (await count('parked')) === 299, { what: 'the parked' });
    target.answer = (_, response) => void response.end();
    for (const end of blocked) end();
    await finished(301);
    expect(paths().slice(2)).toEqual(Array.from({ length: 299 }, (_, i) => `/slow/${i + 1}`));
  });

  test('a long line of a blocked key does not delay another, though the queue is slow', async () => {
    const rateLimits = { maxDispatchesPerSecond: 5, maxBurstSize: 2, maxConcurrentDispatches: 2 };
    target.answer = ({ path }, response) => {
      if (!path.startsWith('/slow')) response.end();
    };
    await setFlow({ maxConcurrentDispatches: 1 }, { rateLimits });
    await bench.enqueue(...tasks(...times(5_000, 'slow'), 'quick'));
    const startedMs = performance.now();
    await until(() => paths().includes('/quick/5000'), { what: 'the other key' });
    expect(performance.now() - startedMs).toBeLessThan(5_000);
    expect(paths()).toEqual(['/slow/0', '/quick/5000']);
  });

  test('never calls more of a key than its concurrency, and all keys at once', async () => {
    const now = new Map<string, number>();
    let most = 0;
    let keysAtOnce = 0;
    target.answer = async ({ path }, response) => {
      const key = path.split('/')[1]!;
      now.set(key, (now.get(key) ?? 0) + 1);
      most = Math.max(most, now.get(key)!);
      keysAtOnce = Math.max(keysAtOnce, [...now.values()].filter((calls) => calls > 0).length);
      await new Promise((resolve) => setTimeout(resolve, 10));
      now.set(key, now.get(key)! - 1);
      response.end();
    };
    await setFlow({ maxConcurrentDispatches: 2 });
    const keys = Array.from({ length: 200 }, (_, place) => `key-${place % 10}`);
    await bench.enqueue(...tasks(...keys));
    await finished(200);
    expect(most).toBe(2);
    expect(keysAtOnce).toBe(10);
  });

  test('ordered: what follows a failing task of its key waits for its end, others go on', async () => {
    let failures = 2;
    target.answer = ({ path }, response) => {
      if (path === '/a/0' && failures-- > 0) response.statusCode = 500;
      response.end();
    };
    await setFlow({ ordered: true }, retrySoon);
    await bench.enqueue(...tasks('a', 'a', 'b', 'b', 'a'));
    await finished(5);
    const ofKey = Map.groupBy(paths(), (path) => path.split('/')[1]);
    expect(ofKey.get('a')).toEqual(['/a/0', '/a/0', '/a/0', '/a/1', '/a/4']);
    expect(ofKey.get('b')).toEqual(['/b/2', '/b/3']);
    expect(paths().indexOf('/b/3')).toBeLessThan(paths().indexOf('/a/1') - 1);
  });

  test('the target sees no key faster than its rate', async () => {
    await setFlow({ maxDispatchesPerSecond: 10, maxBurstSize: 2 });
    await bench.enqueue(...tasks(...times(12, 'a'), ...times(12, 'b')));
    await finished(24);
    for (const key of ['a', 'b']) {
      const times = target.arrivals.filter((a) => a.path.startsWith(`/${key}/`)).map((a) => a.atMs);
      expect(times).toHaveLength(12);
      expect(times.at(-1)! - times[0]!).toBeLessThan(2_500);
      for (const [first, from] of times.entries()) {
        for (const [place, to] of times.slice(first).entries()) {
          expect(place + 1).toBeLessThanOrEqual(2 + (10 * (to - from + 100)) / 1000 + 1);
        }
      }
    }
  });

  test('what is parked comes back when the flow is switched off', async () => {
    const blocked: (() => void)[] = [];
    target.answer = (_, response) => void blocked.push(() => response.end());
    await setFlow({ maxConcurrentDispatches: 1 });
    await bench.enqueue(...tasks(...times(20, 'a')));
    await until(async () => (await count('parked')) === 19);
    await setFlow(null);
    await target.arrived(20);
    for (const end of blocked) end();
    await finished(20);
  });

  test('a new owner calls what the one before parked, in order, after the holder', async () => {
    target.answer = ({ path }, response) => {
      if (path === '/a/0') response.statusCode = 500;
      response.end();
    };
    await setFlow({ ordered: true }, retrySoon);
    await bench.enqueue(...tasks('a', 'a', 'a'));
    await until(async () => (await count('parked')) === 2);
    await bench.dispatcher.drain(0);
    expect((await bench.database.run(verifyRooms)).problems).toEqual([]);
    target.answer = (_, response) => void response.end();
    await bench.startDispatcher();
    await finished(3);
    expect(paths().slice(-3)).toEqual(['/a/0', '/a/1', '/a/2']);
  });
});
