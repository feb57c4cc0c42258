import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { DEFAULT_QUEUE_SETTINGS, type QueueSettings } from '../../src/model.ts';
import { connect } from '../../src/store/database.ts';
import { putQueue, setQueuePaused } from '../../src/store/queue-change.ts';
import { runTask } from '../../src/store/task-run.ts';
import { verifyRooms } from '../../src/store/verify.ts';
import { type Bench, startBench } from '../support/dispatcher.ts';
import { startTarget, type Target } from '../support/target.ts';
import { until } from '../support/until.ts';

const SLOTS = 8;
const PROJECT = 'default';

let target: Target;
let bench: Bench;

beforeEach(async () => {
  target = await startTarget();
});

afterEach(async () => {
  const { problems } = await bench.database.run(verifyRooms);
  await bench.close();
  await target.close();
  expect(problems).toEqual([]);
});

type Limits = Partial<QueueSettings['rateLimits']>;

async function put(name: string, settings: Partial<QueueSettings>, limits: Limits = {}) {
  const rateLimits = { ...DEFAULT_QUEUE_SETTINGS.rateLimits, ...limits };
  const { queue } = await bench.database.run((sql) =>
    putQueue(sql, { project: PROJECT, name, settings: { ...settings, rateLimits } }),
  );
  return { queue: queue.id, shard: queue.shard };
}

const tasks = (count: number, path: string, of: { queue: number; shard: number }) =>
  Array.from({ length: count }, () => ({ ...of, url: `${target.url}${path}` }));

const pass = (ms: number) => new Promise((resolve) => setTimeout(resolve, ms));

const paths = () => target.arrivals.map(({ path }) => path);

/** The target holds its calls; returns the way to end the first of those that it holds. */
function holdCalls(): (count: number) => void {
  const held: (() => void)[] = [];
  target.answer = (_, response) => void held.push(() => response.end());
  return (count) => {
    for (const end of held.splice(0, count)) end();
  };
}

/** Promise 4: in any window of T seconds at most burst + rate × (T + 0.1) + 1 arrivals. */
function expectPaced(ratePerSecond: number, burst: number): void {
  const atMs = target.arrivals.map((arrival) => arrival.atMs);
  let worst = 0;
  for (const [first, from] of atMs.entries()) {
    for (let last = first; last < atMs.length; last++) {
      const seconds = (atMs[last]! - from) / 1000;
      const allowed = burst + ratePerSecond * (seconds + 0.1) + 1;
      worst = Math.max(worst, last - first + 1 - allowed);
    }
  }
  expect(worst).toBeLessThanOrEqual(0);
}

describe('promise 4: limits, as seen at the target', () => {
  test('a claim that the database made wait does not let the next one bunch with it', async () => {
    bench = await startBench();
    const limits = { maxDispatchesPerSecond: 10, maxBurstSize: 10 };
    const queue = await put('paced', {}, limits);
    const blocker = connect({ url: bench.databaseUrl, connections: 1, name: 'blocker' });
    try {
      await blocker.begin(async (transaction) => {
        await transaction`select from errand.ownership where shard = ${queue.shard} for update`;
        await bench.enqueue(...tasks(30, '/paced', queue));
        await pass(1_500);
        expect(target.arrivals).toHaveLength(0);
      });
      await target.arrived(30);
    } finally {
      await blocker.end();
    }
    expectPaced(10, 10);
  });

  test('a limit lowered below what is in flight only stops new claims', async () => {
    bench = await startBench();
    const queue = await put('lowered', {}, { maxConcurrentDispatches: 6 });
    const end = holdCalls();
    await bench.enqueue(...tasks(12, '/', queue));
    await target.arrived(6);
    await put('lowered', {}, { maxConcurrentDispatches: 2 });
    end(4);
    await until(() => target.inFlight.now === 2);
    await pass(700);
    expect(target.arrivals).toHaveLength(6);
    end(1);
    await target.arrived(7);
    expect(target.inFlight.now).toBe(2);
    target.answer = (_, response) => void response.end();
    end(2);
    await target.arrived(12);
  });

  test('calls of the owner before count until they are settled', async () => {
    bench = await startBench();
    const queue = await put('inherited', {}, { maxConcurrentDispatches: 2 });
    const end = holdCalls();
    await bench.enqueue(...tasks(6, '/', queue));
    await target.arrived(2);
    const heir = await bench.startDispatcher();
    const drained = bench.dispatcher.drain(10_000);
    await until(() => heir.wake([{ ...queue, rank: 0, seq: '1', dueInSeconds: 0 }]).length === 0);
    await pass(700);
    expect(target.arrivals).toHaveLength(2);
    target.answer = (_, response) => void setTimeout(() => response.end(), 20);
    end(2);
    await drained;
    await target.arrived(6);
    expect(target.inFlight.most).toBe(2);
  });
});

describe('slots shared between queues', () => {
  test('weights 2 and 1 get 66 % and 33 % of the slots that both want', async () => {
    bench = await startBench({ concurrency: SLOTS });
    target.answer = (_, response) => void setTimeout(() => response.end(), 5);
    const double = await put('double', { weight: 2 });
    const single = await put('single', { weight: 1 });
    await bench.enqueue(...tasks(300, '/double', double), ...tasks(300, '/single', single));
    const contended = (await target.arrived(300)).slice(0, 300);
    const share = contended.filter(({ path }) => path === '/double').length / 300;
    expect(Math.abs(share - 2 / 3)).toBeLessThan(0.04);
  });

  test('strict-priority: the backlog of the higher weight goes first', async () => {
    bench = await startBench({ concurrency: SLOTS, strategy: 'strict-priority' });
    target.answer = (_, response) => void setTimeout(() => response.end(), 5);
    const low = await put('low', { weight: 1 });
    const high = await put('high', { weight: 2 });
    await bench.enqueue(...tasks(60, '/low', low), ...tasks(60, '/high', high));
    await target.arrived(120);
    expect(paths().lastIndexOf('/high')).toBeLessThan(60 + SLOTS);
  });
});

describe('queues that are closed', () => {
  test('outside its windows a queue holds its tasks, and dispatches when one opens', async () => {
    bench = await startBench();
    const timeZone = 'UTC';
    const days = ['mon', 'tue', 'wed', 'thu', 'fri', 'sat', 'sun'] as const;
    const today = (new Date().getUTCDay() + 6) % 7;
    const inThreeDays = { days: [days[(today + 3) % 7]!], start: '00:00', end: '24:00', timeZone };
    const queue = await put('office-hours', { activeWindows: [inThreeDays] });
    await bench.enqueue(...tasks(3, '/', queue));
    await pass(700);
    expect(target.arrivals).toHaveLength(0);
    const always = { days: [...days], start: '00:00', end: '24:00', timeZone };
    await put('office-hours', { activeWindows: [always] });
    await target.arrived(3);
  });

  test('a task told to run now goes past pause and an exhausted rate, and it alone', async () => {
    bench = await startBench();
    const queue = await put('urgent', {}, { maxDispatchesPerSecond: 0.001, maxBurstSize: 1 });
    const [, , third] = await bench.enqueue(
      ...[1, 2, 3].map((place) => tasks(1, `/${place}`, queue)[0]!),
    );
    await target.arrived(1);
    await bench.database.run((sql) =>
      setQueuePaused(sql, { project: PROJECT, name: 'urgent', paused: true }),
    );
    const run = await bench.database.run((sql) =>
      runTask(sql, { project: PROJECT, taskId: third! }),
    );
    bench.dispatcher.wake(run.kind === 'ready' ? [run.wakeUp] : []);
    await target.arrived(2);
    await pass(700);
    expect(paths()).toEqual(['/1', '/3']);
  });

  test('a dispatcher that is paused claims nothing until it is resumed', async () => {
    bench = await startBench();
    const queue = await put('any', {});
    bench.dispatcher.pause();
    await bench.enqueue(...tasks(3, '/', queue));
    await pass(700);
    expect(target.arrivals).toHaveLength(0);
    await bench.dispatcher.resume();
    await target.arrived(3);
  });
});
