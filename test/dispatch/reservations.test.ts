import { monitorEventLoopDelay } from 'node:perf_hooks';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { verifyRooms } from '../../src/store/verify.ts';
import { until } from '../support/until.ts';
import { holdCalls, type ReservedBench, startReservedBench } from './reserved-bench.ts';

let bench: ReservedBench;

beforeEach(async () => {
  bench = await startReservedBench();
});

afterEach(async () => {
  const { problems } = await bench.database.run(verifyRooms);
  await bench.close();
  expect(problems).toEqual([]);
});

const times = <T>(count: number, make: (at: number) => T) =>
  Array.from({ length: count }, (_, at) => make(at));

const finished = (count: number) =>
  until(async () => (await bench.rows('finished')) === count, { what: `${count} finished tasks` });

/** So many clients, each with one request at a time, until all tasks are created. */
async function createAll(
  count: number,
  clients: number,
  fields: (at: number) => object = () => ({}),
) {
  let next = 0;
  const client = async () => {
    while (next < count) {
      const at = next++;
      const { status } = await bench.create(`/${at}`, fields(at));
      expect(status).toBe(201);
    }
  };
  await Promise.all(times(clients, client));
}

describe('a task whose owner is in the process of the API', () => {
  test('is leased as it is enqueued, and called without a claim', async () => {
    await bench.warm();
    const before = bench.reserved();
    const answerAll = holdCalls(bench.target);
    const { status, body } = await bench.create('/one');
    expect(status).toBe(201);
    const arrivals = await bench.target.arrived(2);
    expect(arrivals[1]!.headers).toMatchObject({
      'errand-task-id': body.id,
      'errand-attempt': '1',
      'errand-step': '0',
    });
    expect(await bench.claims()).toEqual([expect.any(Number)]);
    expect((await bench.claims())[0]).toBeLessThan(0);
    expect(bench.reserved() - before).toBe(1);
    answerAll();
    await finished(2);
  });

  test('promise 4: the rate holds for 64 clients at once', async () => {
    await bench.limit({ maxDispatchesPerSecond: 50, maxBurstSize: 10 });
    await bench.warm();
    const from = bench.reserved();
    const stalls = monitorEventLoopDelay({ resolution: 5 });
    stalls.enable();
    await createAll(90, 64);
    await bench.target.arrived(91);
    expect(bench.reserved()).toBeGreaterThan(from);
    // The target is in this process: what it sees late is no sooner than it was sent.
    const stallSeconds = stalls.max / 1e9;
    const atMs = bench.target.arrivals.map((arrival) => arrival.atMs);
    for (const [first, fromMs] of atMs.entries()) {
      for (let last = first; last < atMs.length; last++) {
        const seconds = (atMs[last]! - fromMs) / 1000;
        expect(last - first + 1).toBeLessThanOrEqual(10 + 50 * (seconds + 0.1 + stallSeconds) + 1);
      }
    }
  });

  test('promise 4: the concurrency holds for 64 clients at once, and is used', async () => {
    await bench.limit({
      maxConcurrentDispatches: 7,
      maxDispatchesPerSecond: 500,
      maxBurstSize: 500,
    });
    await bench.warm();
    bench.target.answer = (_, response) => void setTimeout(() => response.end(), 5);
    await createAll(300, 64);
    await finished(301);
    expect(bench.target.inFlight.most).toBe(7);
    expect(new Set(bench.target.arrivals.map(({ path }) => path)).size).toBe(301);
  });

  test('promise 5: what one client creates one by one arrives in its order, reserved or not', async () => {
    await bench.limit({ maxConcurrentDispatches: 1 });
    await bench.warm();
    const from = bench.reserved();
    bench.target.answer = ({ path }, response) =>
      void setTimeout(() => response.end(), Number(path.slice(1)) % 3 === 0 ? 12 : 0);
    for (let at = 0; at < 60; at += 1) {
      await bench.create(`/${at}`, at % 7 === 0 ? { name: `named-${at}` } : {});
      if (at % 5 === 4) await bench.untilWanted();
    }
    await finished(61);
    const paths = bench.target.arrivals.map(({ path }) => path);
    expect(paths).toEqual(['/warm', ...times(60, (at) => `/${at}`)]);
    expect(bench.reserved() - from).toBeGreaterThan(3);
    expect(bench.reserved() - from).toBeLessThan(60);
  });

  test('leaves nothing behind: after 1,000 mixed tasks every place is there, and a drain ends', async () => {
    await bench.limit({
      maxConcurrentDispatches: 20,
      maxDispatchesPerSecond: 500,
      maxBurstSize: 500,
    });
    await bench.warm();
    const fields = (at: number) =>
      [{}, { name: `n${at}` }, { delaySeconds: 0.05 }, { priority: 3 }, { flowKey: 'a' }][at % 5]!;
    await createAll(1_000, 32, fields);
    await until(async () => (await bench.rows('finished')) === 1_001, { timeoutMs: 25_000 });
    const answerAll = holdCalls(bench.target);
    await createAll(30, 30);
    await bench.target.arrived(1_021);
    await until(async () => (await bench.rows('ready')) === 10);
    expect(bench.target.inFlight.now).toBe(20);
    expect(bench.target.inFlight.most).toBe(20);
    answerAll();
    await finished(1_031);
    await bench.dispatcher.drain(1_000);
  });
});

describe('what is not for now', () => {
  test.each([
    ['has an expire time', { expireTime: new Date(Date.now() + 3_600_000).toISOString() }],
    ['has a schedule time', { scheduleTime: '2020-01-01T00:00:00Z' }],
    ['is delayed', { delaySeconds: 0.01 }],
    ['has a name', { name: 'one' }],
    ['has an idempotency key', { headers: { 'idempotency-key': 'one' } }],
  ])('is not reserved: it %s', async (_, fields) => {
    await bench.warm();
    const before = bench.reserved();
    const answerAll = holdCalls(bench.target);
    expect((await bench.create('/one', fields)).status).toBe(201);
    await bench.target.arrived(2);
    expect(bench.reserved()).toBe(before);
    expect((await bench.claims())[0]).toBeGreaterThan(0);
    answerAll();
    await finished(2);
  });

  const never = () => {
    const days = ['mon', 'tue', 'wed', 'thu', 'fri', 'sat', 'sun'];
    const today = (new Date().getUTCDay() + 6) % 7;
    return { days: [days[(today + 3) % 7]], start: '00:00', end: '24:00', timeZone: 'UTC' };
  };

  test.each<[string, () => Promise<unknown>]>([
    ['the dispatcher is paused', async () => bench.dispatcher.pause()],
    ['the queue is paused', () => bench.call('POST', '/v1/queues/default/pause')],
    ['its windows are closed', () => bench.limit({}, { activeWindows: [never()] })],
  ])('lies in ready while %s', async (_, close) => {
    await bench.warm();
    await close();
    expect((await bench.create('/one')).status).toBe(201);
    expect(await bench.rows('ready')).toBe(1);
    expect(await bench.rows('lease')).toBe(0);
  });

  test('is parked by its flow key where the queue has a flow', async () => {
    await bench.limit({}, { flow: { maxConcurrentDispatches: 1 } });
    await bench.create('/first', { flowKey: 'a' });
    await finished(1);
    const before = bench.reserved();
    await bench.create('/second', { flowKey: 'a' });
    await finished(2);
    expect(bench.reserved()).toBe(before);
  });
});
