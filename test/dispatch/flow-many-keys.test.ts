import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { verifyRooms } from '../../src/store/verify.ts';
import { type Bench, startBench } from '../support/dispatcher.ts';
import { startTarget, type Target } from '../support/target.ts';
import { countIn, setFlow, untilRows } from './flow-bench.ts';

/** Measured with 100,000 keys: what follows costs each task the same. */
const KEYS = 1_000;
const UNLIMITED = {
  rateLimits: {
    maxDispatchesPerSecond: 100_000,
    maxBurstSize: 100_000,
    maxConcurrentDispatches: 1_000,
  },
};

let bench: Bench;
let target: Target;
let statements: number;

beforeEach(async () => {
  [bench, target] = await Promise.all([startBench({ concurrency: 100 }), startTarget()]);
  await bench.dispatcher.drain(0);
  const { database } = bench;
  statements = 0;
  bench.dispatcher = await bench.startDispatcher({
    database: {
      ...database,
      run(verb, options) {
        statements += 1;
        return database.run(verb, options);
      },
    },
  });
});

afterEach(async () => {
  expect((await bench.database.run(verifyRooms)).problems).toEqual([]);
  await bench.close();
  await target.close();
});

/** So many rounds of a task of every key. */
async function enqueueRounds(rounds: number): Promise<void> {
  const places = Array.from({ length: KEYS * rounds }, (_, place) => place);
  const tasks = places.map((place) => ({
    url: `${target.url}/${place % KEYS}/${Math.floor(place / KEYS)}`,
    flowKey: `customer-${place % KEYS}`,
  }));
  for (let from = 0; from < tasks.length; from += 1_000) {
    await bench.enqueue(...tasks.slice(from, from + 1_000));
  }
}

/** What was called of each key, in the order of arrival. */
function callsByKey(): Map<string, string[]> {
  const calls = target.arrivals.map(({ path }) => path.split('/') as ['', string, string]);
  const byKey = Map.groupBy(calls, ([, key]) => key);
  return new Map([...byKey].map(([key, ofKey]) => [key, ofKey.map(([, , round]) => round)]));
}

describe('a thousand flow keys', () => {
  test('ordered: each key is called in its order, in batches of many keys', async () => {
    await setFlow(bench, { ordered: true }, UNLIMITED);
    await enqueueRounds(2);
    await untilRows(bench, 'finished', 2 * KEYS, 25_000);
    const calls = callsByKey();
    expect(calls.size).toBe(KEYS);
    for (const ofKey of calls.values()) expect(ofKey).toEqual(['0', '1']);
    expect(statements).toBeLessThan(KEYS);
  });

  test('with a rate: what is beyond it is parked, and a key that comes later is called', async () => {
    await setFlow(bench, { maxDispatchesPerSecond: 0.001 }, UNLIMITED);
    await enqueueRounds(2);
    await untilRows(bench, 'parked', KEYS, 25_000);
    await untilRows(bench, 'finished', KEYS);
    expect(new Set([...callsByKey().values()].map(String))).toEqual(new Set(['0']));
    await bench.enqueue({ url: `${target.url}/late/0`, flowKey: 'late' });
    await untilRows(bench, 'finished', KEYS + 1);
    expect(await countIn(bench, 'parked')).toBe(KEYS);
    expect(statements).toBeLessThan(KEYS);
  });

  test('are all called once the flow is switched off, whoever parked them', async () => {
    await setFlow(bench, { maxDispatchesPerSecond: 0.001 }, UNLIMITED);
    await enqueueRounds(2);
    await untilRows(bench, 'parked', KEYS, 25_000);
    await bench.dispatcher.drain(1_000);
    bench.dispatcher = await bench.startDispatcher();
    await setFlow(bench, null, UNLIMITED);
    await untilRows(bench, 'finished', 2 * KEYS, 25_000);
    expect(await countIn(bench, 'parked')).toBe(0);
  });
});
