/** Faults of the service's own processes: killed, asked to leave, frozen. */
import { setTimeout as pause } from 'node:timers/promises';
import { until } from '../../support/until.ts';
import { scenario } from '../scenario.ts';
import { type Role, TAKEOVER_SECONDS, type World } from '../world.ts';

const LOAD_PER_SECOND = 200;
const IN_FLIGHT = 100;

export const calm = scenario('no fault', ({ load }) => load.burst(50_000));

export const killed = scenario(
  'kill -9 at random',
  async (world) => {
    world.load.start(LOAD_PER_SECOND);
    for (let count = 0; count < 20; count += 1) await killOne(world);
  },
  { world: { apis: 2 } },
);

/** A dispatcher dies, or an API process; its successor comes a little later. */
export async function killOne(world: World, role = pickRole(world)): Promise<void> {
  const { random } = world;
  const victims = role === 'api' ? world.apis : world.dispatchers;
  await pause(random.between(200, 1_000));
  await world.kill(random.pick(victims));
  await pause(random.between(0, 500));
  await world.start(role);
}

function pickRole({ random }: World): Role {
  return random.pick(['api', 'dispatcher']);
}

export const asked = scenario(`SIGTERM with ${IN_FLIGHT} calls in flight`, async (world) => {
  for (let round = 0; round < 5; round += 1) {
    await leaveBusy(world);
    await leaveOne(world, 'api');
  }
});

/** A dispatcher leaves in the middle of its work; another is there already. */
export async function leaveBusy(world: World): Promise<void> {
  const { load, target } = world;
  const usual = target.workMs;
  target.workMs = { least: 1_000, most: 2_000 };
  await load.burst(1_500);
  const findBusy = async () => {
    for (const one of world.dispatchers) if ((await world.callsOf(one)) >= IN_FLIGHT) return one;
    return null;
  };
  const leaving = await until(findBusy, {
    timeoutMs: 30_000,
    what: `${IN_FLIGHT} calls in flight`,
  });
  await world.start('dispatcher');
  const startMs = performance.now();
  await world.leave(leaving);
  world.remark(`exit after ${((performance.now() - startMs) / 1_000).toFixed(1)} s`);
  target.workMs = usual;
}

export async function leaveOne(world: World, role: Role): Promise<void> {
  const [leaving] = role === 'api' ? world.apis : world.dispatchers;
  await world.start(role);
  await world.leave(leaving!);
}

export const frozen = scenario('SIGSTOP beyond the take-over time', async (world) => {
  world.load.start(LOAD_PER_SECOND);
  for (let round = 0; round < 5; round += 1) {
    await freezeOne(world, 2 * TAKEOVER_SECONDS);
    await pause(TAKEOVER_SECONDS * 1_000);
  }
});

/** Whoever is frozen longer than the take-over time is dead to the others, and wakes as a stranger. */
export async function freezeOne(world: World, seconds: number): Promise<void> {
  const dispatcher = world.random.pick(world.dispatchers);
  dispatcher.process.child.kill('SIGSTOP');
  await world.exposeCalls(dispatcher);
  await pause(seconds * 1_000);
  dispatcher.process.child.kill('SIGCONT');
}

export const dozing = scenario('SIGSTOP for less than the take-over time', async (world) => {
  world.load.start(LOAD_PER_SECOND);
  for (let round = 0; round < 10; round += 1) {
    const { child } = world.random.pick(world.dispatchers).process;
    child.kill('SIGSTOP');
    await pause(0.4 * TAKEOVER_SECONDS * 1_000);
    child.kill('SIGCONT');
    await pause(TAKEOVER_SECONDS * 1_000);
  }
});
