/** Faults of what lies between the processes and their database. */
import { setTimeout as pause } from 'node:timers/promises';
import type { Weather } from '../network.ts';
import { type Scenario, scenario } from '../scenario.ts';
import { TAKEOVER_SECONDS, type World } from '../world.ts';

const LOAD_PER_SECOND = 200;
/** A call of the database is bounded by 2 s, and what waits behind it is not sent; the machine needs some time. */
const ANSWER_WITHIN_MS = 3_500;

export const weathered: readonly Scenario[] = [
  weather('black-hole'),
  weather('half-open'),
  weather('accept-then-fin'),
  weather('cut'),
];

/** Everybody's way to the database is bad for a while, several times. */
function weather(kind: Weather): Scenario {
  return scenario(
    `database connections: ${kind}`,
    async (world) => {
      const { random } = world;
      world.load.start(LOAD_PER_SECOND);
      for (let round = 0; round < 3; round += 1) {
        await pause(random.between(300, 1_000));
        await blow(world, kind, random.between(3_000, 6_000));
      }
    },
    { world: { databaseUrl: (_, network) => network.url } },
  );
}

/** A process may try all its connections twice at once, and then so many a second. */
const CONNECTS = { atOnce: 40, perSecond: 12 };

/** While the database cannot be reached every request has its answer all the same. */
export async function blow(world: World, kind: Weather, ms: number): Promise<void> {
  const { load, network } = world;
  const first = load.newest() + 1;
  const before = network.accepted();
  network.change(kind);
  await pause(ms);
  const knocks = network.accepted() - before;
  const processes = world.apis.length + world.dispatchers.length;
  const last = load.newest();
  network.change('clear');
  await world.dispatchesAgain();
  const slowest = Math.max(...load.sent.slice(first, last).map(({ tookMs }) => tookMs));
  world.remark(`answers within ${(slowest / 1_000).toFixed(1)} s, ${knocks} connects`);
  if (knocks > processes * (CONNECTS.atOnce + (CONNECTS.perSecond * ms) / 1_000))
    world.complain(`${processes} processes tried ${knocks} connections in ${ms.toFixed(0)} ms`);
  if (slowest > ANSWER_WITHIN_MS * world.patience)
    world.complain(`an answer took ${slowest.toFixed(0)} ms`);
}

/** One dispatcher is cut off for twice the time after which it is taken for dead, and comes back. */
export const partitioned = scenario(
  'a dispatcher cut off for twice the take-over time',
  async (world) => {
    const { load, network } = world;
    await world.leave(world.dispatchers[0]!);
    const island = await world.start('dispatcher', { DATABASE_URL: network.url });
    load.start(LOAD_PER_SECOND);
    for (let round = 0; round < 4; round += 1) {
      await pause(2 * TAKEOVER_SECONDS * 1_000);
      network.change('black-hole');
      // It still begins calls until it is not certain of its shards any more.
      await pause(0.6 * TAKEOVER_SECONDS * 1_000);
      await world.exposeCalls(island);
      await pause(2 * TAKEOVER_SECONDS * 1_000);
      network.change('clear');
      await world.dispatchesAgain();
    }
  },
);
