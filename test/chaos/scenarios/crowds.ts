/** Very many at once, and everything at once. */
import { setTimeout as pause } from 'node:timers/promises';
import { until } from '../../support/until.ts';
import { type Scenario, scenario } from '../scenario.ts';
import { TAKEOVER_SECONDS, type World } from '../world.ts';
import { restart, terminate } from './database.ts';
import { blow } from './network.ts';
import { freezeOne, killOne, leaveBusy, leaveOne } from './processes.ts';

const LOAD_PER_SECOND = 200;

export const instant: Scenario = scenario(
  '100,000 tasks due at one instant (short: 10,000)',
  async (world, { isShort }) => {
    const count = isShort ? 10_000 : 100_000;
    const dueAt = new Date(Date.now() + (isShort ? 6_000 : 60_000));
    await world.load.burst(count, dueAt);
    if (Date.now() > dueAt.getTime()) world.remark('due before all was enqueued');
    const { arrivals } = world.target;
    await until(() => arrivals.length >= count, { timeoutMs: 240_000, what: 'every call' });
    const seconds = (Date.now() - dueAt.getTime()) / 1_000;
    world.remark(`all called within ${seconds.toFixed(1)} s`);
  },
  { isInShort: true },
);

/** The short form of most of the matrix: a fault of every kind, one after the other. */
export const tour = scenario(
  'a fault of each kind, in turn',
  async (world) => {
    await leaveBusy(world);
    world.load.start(LOAD_PER_SECOND);
    await killOne(world, 'dispatcher');
    await killOne(world, 'api');
    await leaveOne(world, 'api');
    await freezeOne(world, 2 * TAKEOVER_SECONDS);
    for (let count = 0; count < 60; ) count += await terminate(world, 6);
    for (let count = 0; count < 2; count += 1) await restart(world);
    await blow(world, 'black-hole', 3_000);
    await blow(world, 'half-open', 1_000);
    await blow(world, 'accept-then-fin', 3_000);
  },
  { isInShort: true, world: { apis: 2, databaseUrl: (_, network) => network.url } },
);

/** What may happen at any moment, each leaving the world as able as it found it. */
const HAPPENINGS: readonly ((world: World) => Promise<unknown>)[] = [
  killOne,
  killOne,
  restart,
  (world) => terminate(world, 5),
  (world) => freezeOne(world, world.random.between(1, 60) / 10),
  (world) => blow(world, 'black-hole', world.random.between(500, 4_000)),
  (world) => blow(world, 'half-open', world.random.between(500, 2_000)),
  (world) => blow(world, 'cut', world.random.between(500, 2_000)),
  (world) => blow(world, 'accept-then-fin', world.random.between(500, 2_000)),
  (world) => leaveOne(world, 'dispatcher'),
];

export const mixed = scenario(
  'all of it at random, for 2 minutes',
  async (world) => {
    world.load.start(LOAD_PER_SECOND);
    const endMs = performance.now() + 120_000;
    while (performance.now() < endMs) {
      await pause(world.random.between(0, 1_500));
      await world.random.pick(HAPPENINGS)(world);
    }
  },
  { world: { apis: 2, dispatchers: 3, databaseUrl: (_, network) => network.url } },
);
