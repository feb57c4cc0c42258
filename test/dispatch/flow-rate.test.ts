import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { connect, type Sql } from '../../src/store/database.ts';
import { verifyRooms } from '../../src/store/verify.ts';
import { type Bench, startBench } from '../support/dispatcher.ts';
import { startTarget, type Target } from '../support/target.ts';
import { until } from '../support/until.ts';
import { setFlow, untilRows } from './flow-bench.ts';

const LIMITS = { maxDispatchesPerSecond: 20, maxBurstSize: 6 };
const UNLIMITED = {
  rateLimits: {
    maxDispatchesPerSecond: 100_000,
    maxBurstSize: 100_000,
    maxConcurrentDispatches: 1_000,
  },
};

let bench: Bench;
let target: Target;
let blocker: Sql;

beforeEach(async () => {
  [bench, target] = await Promise.all([startBench({ concurrency: 32 }), startTarget()]);
  blocker = connect({ url: bench.databaseUrl, connections: 1, name: 'blocker' });
});

afterEach(async () => {
  expect((await bench.database.run(verifyRooms)).problems).toEqual([]);
  await bench.close();
  await Promise.all([blocker.end(), target.close()]);
});

const tasks = (count: number, ...keys: string[]) =>
  keys.flatMap((flowKey) =>
    Array.from({ length: count }, () => ({ url: `${target.url}/${flowKey}`, flowKey })),
  );

/** Makes claims wait, so that what they take comes in a bunch; for so long that buckets fill again. */
async function holdUpClaims(): Promise<void> {
  await blocker.begin(async (transaction) => {
    await transaction`select from errand.ownership where shard = 0 for update`;
    const waiting = () => transaction`
      select from pg_stat_activity
      where datname = current_database() and wait_event_type = 'Lock' and query like '%errand.%'`;
    await until(async () => (await waiting()).length > 0, { what: 'a claim that waits' });
    await transaction`select pg_sleep(0.6)`;
  });
}

/** The most calls of a key beyond what a window of their length may hold; 0 or less is well. */
function worstExcess(key: string): number {
  const times = target.arrivals.filter(({ path }) => path === `/${key}`).map(({ atMs }) => atMs);
  const { maxDispatchesPerSecond: rate, maxBurstSize: burst } = LIMITS;
  const excesses = times.flatMap((from, first) =>
    times
      .slice(first)
      .map((to, place) => place + 1 - (burst + rate * ((to - from) / 1000 + 0.1) + 1)),
  );
  return Math.max(...excesses);
}

describe('the rate of a flow key, as the target sees it', () => {
  test('holds in every window, though claims come in bunches', async () => {
    await setFlow(bench, LIMITS, UNLIMITED);
    await bench.enqueue(...tasks(40, 'a', 'b', 'c'));
    for (let time = 0; time < 3; time += 1) await holdUpClaims();
    await untilRows(bench, 'finished', 120);
    for (const key of ['a', 'b', 'c']) expect(worstExcess(key)).toBeLessThanOrEqual(0);
  });

  test('is not waited for in slots that others could use', async () => {
    await setFlow(bench, { maxDispatchesPerSecond: 0.01 }, UNLIMITED);
    await bench.enqueue(...tasks(200, 'slow'));
    await untilRows(bench, 'finished', 1);
    await untilRows(bench, 'parked', 199);
    await untilRows(bench, 'lease', 0);
    await bench.enqueue(...tasks(1, 'quick'));
    await untilRows(bench, 'finished', 2);
  });

  test('goes on from the level that was handed over, for each key by itself', async () => {
    await setFlow(bench, { maxDispatchesPerSecond: 0.01, maxBurstSize: 2 }, UNLIMITED);
    await bench.enqueue(...tasks(2, 'spent'), ...tasks(1, 'half'));
    await untilRows(bench, 'finished', 3);
    await bench.dispatcher.drain(1_000);
    await bench.startDispatcher();
    target.arrivals.length = 0;
    await bench.enqueue(...tasks(3, 'spent', 'half', 'idle'));
    await untilRows(bench, 'parked', 6);
    await untilRows(bench, 'finished', 6);
    const paths = target.arrivals.map(({ path }) => path).sort();
    expect(paths).toEqual(['/half', '/idle', '/idle']);
  });

  test('starts from nothing after a crash, for nobody knows what was spent', async () => {
    await setFlow(bench, { maxDispatchesPerSecond: 0.01 }, UNLIMITED);
    await bench.enqueue(...tasks(1, 'a'));
    await untilRows(bench, 'finished', 1);
    await bench.dispatcher.drain(1_000);
    await bench.database.run((sql) => sql`update errand.ownership set handover = null`);
    await bench.startDispatcher();
    await bench.enqueue(...tasks(1, 'a', 'b'));
    await untilRows(bench, 'parked', 2);
    expect(target.arrivals).toHaveLength(1);
  });
});
