/**
 * Who holds the key of an ordered flow, and when it is free again. What is told of a key that became
 * free is told at once; what is not told is found a minute later, which is longer than these tests wait.
 */
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { purgeQueue } from '../../src/store/queue-removal.ts';
import { cancelTask } from '../../src/store/task-cancel.ts';
import { deleteTask } from '../../src/store/task-delete.ts';
import { verifyRooms } from '../../src/store/verify.ts';
import { type Bench, startBench } from '../support/dispatcher.ts';
import { startTarget, type Target } from '../support/target.ts';
import { until } from '../support/until.ts';
import { retryEvery, setFlow, untilRows } from './flow-bench.ts';

let bench: Bench;
let target: Target;

beforeEach(async () => {
  [bench, target] = await Promise.all([startBench(), startTarget()]);
});

afterEach(async () => {
  expect((await bench.database.run(verifyRooms)).problems).toEqual([]);
  await bench.close();
  await target.close();
});

const ref = (taskId: string) => ({ project: 'default', taskId });
const paths = () => target.arrivals.map(({ path }) => path);

const tasks = (...places: string[]) =>
  places.map((place) => ({ url: `${target.url}/${place}`, flowKey: 'a' }));

/** A task that failed once and waits for a far retry, and another of its key behind it. */
async function holdKey(): Promise<string> {
  target.answer = ({ path }, response) => {
    if (path === '/holder') response.statusCode = 500;
    response.end();
  };
  await setFlow(bench, { ordered: true }, { retry: retryEvery(3_000) });
  const [holder] = await bench.enqueue(...tasks('holder', 'next'));
  await untilRows(bench, 'scheduled', 1);
  await untilRows(bench, 'parked', 1);
  return holder!;
}

describe('the key of an ordered flow', () => {
  test('is free at once when its holder is cancelled', async () => {
    const holder = await holdKey();
    const cancelled = await bench.database.run((sql) => cancelTask(sql, ref(holder)));
    if (cancelled.kind !== 'cancelled') throw new Error(`it was ${cancelled.kind}`);
    expect(bench.dispatcher.wake(cancelled.wakeUps)).toEqual([]);
    await target.arrived(2);
    expect(paths()).toEqual(['/holder', '/next']);
  });

  test('is free at once when its holder is removed', async () => {
    const holder = await holdKey();
    const removed = await bench.database.run((sql) => deleteTask(sql, ref(holder)));
    if (removed.kind !== 'deleted') throw new Error(`it was ${removed.kind}`);
    bench.dispatcher.wake(removed.wakeUps);
    await target.arrived(2);
    expect(paths()).toEqual(['/holder', '/next']);
  });

  test('is free when news of the cancelled holder may have been lost, once that is known', async () => {
    const holder = await holdKey();
    await bench.database.run((sql) => cancelTask(sql, ref(holder)));
    bench.dispatcher.lookNow();
    await untilRows(bench, 'finished', 2);
    expect(paths()).toEqual(['/holder', '/next']);
  });

  test('is free when its holder was cancelled during a call that failed', async () => {
    let end = () => {};
    target.answer = ({ path }, response) => {
      if (path === '/next') return void response.end();
      end = () => void response.writeHead(500).end();
    };
    await setFlow(bench, { ordered: true }, { retry: retryEvery(3_000) });
    const [holder] = await bench.enqueue(...tasks('holder', 'next'));
    await untilRows(bench, 'parked', 1);
    await target.arrived(1);
    const cancelled = await bench.database.run((sql) => cancelTask(sql, ref(holder!)));
    expect(cancelled.kind).toBe('requested');
    end();
    await untilRows(bench, 'finished', 2);
    expect(paths()).toEqual(['/holder', '/next']);
  });

  test('is free when its holder was purged', async () => {
    await holdKey();
    await bench.database.run((sql) => purgeQueue(sql, 'default', 'default'));
    await untilRows(bench, 'scheduled', 0);
    await bench.enqueue(...tasks('after the purge'));
    await untilRows(bench, 'finished', 1);
    expect(paths()).toEqual(['/holder', '/after%20the%20purge']);
  });
});

describe('a task of an ordered flow whose first attempt is put off', () => {
  test('holds its key through the end of its owner', async () => {
    const failing = await startTarget((_, response) => void response.writeHead(500).end());
    const circuitBreaker = { minCalls: 20, failureShare: 0.5, openSeconds: 600 };
    await setFlow(bench, { ordered: true }, { circuitBreaker, retry: retryEvery(3_000) });
    // Enough calls elsewhere, or the whole queue would be held instead of single tasks.
    const healthy = Array.from({ length: 10 }, () => ({ url: `${target.url}/other` }));
    await bench.enqueue(...healthy);
    await target.arrived(10);
    await bench.enqueue(...Array.from({ length: 20 }, () => ({ url: failing.url })));
    await untilRows(bench, 'scheduled', 20);
    const first = { url: `${failing.url}/first`, flowKey: 'a' };
    await bench.enqueue(first, ...tasks('second', 'third'));
    await untilRows(bench, 'parked', 3);
    await untilRows(bench, 'lease', 0);
    // What it remembered of keys and origins goes with it.
    await bench.dispatcher.drain(0);
    const order: string[] = [];
    for (const each of [failing, target]) {
      each.answer = ({ path }, response) => {
        order.push(path);
        response.end();
      };
    }
    await bench.startDispatcher();
    await until(() => order.length === 3, { what: 'three calls' });
    expect(order).toEqual(['/first', '/second', '/third']);
    await untilRows(bench, 'finished', 13);
    await failing.close();
  });
});
