/** Faults of the database that the processes have to live through. */
import { setTimeout as pause } from 'node:timers/promises';
import { scenario } from '../scenario.ts';
import type { World } from '../world.ts';

const LOAD_PER_SECOND = 200;

export const restarted = scenario('10 immediate restarts of Postgres', async (world) => {
  world.load.start(LOAD_PER_SECOND);
  for (let count = 0; count < 10; count += 1) await restart(world);
});

export async function restart({ random, postgres, dispatchesAgain }: World): Promise<void> {
  await pause(random.between(300, 1_500));
  await postgres.crash();
  await pause(random.between(0, 1_000));
  await postgres.start();
  await dispatchesAgain();
}

export const terminated = scenario('300 terminated backends', async (world) => {
  world.load.start(LOAD_PER_SECOND);
  for (let count = 0; count < 300; ) count += await terminate(world, 3);
});

/** Ends some of the processes' sessions, chosen at random; returns how many. */
export async function terminate({ postgres, random }: World, most: number): Promise<number> {
  await pause(random.between(10, 100));
  const sessions = await postgres.sql<{ pid: number }[]>`
    select pid from pg_stat_activity where application_name like 'errand%' order by pid`;
  const chosen = Array.from({ length: Math.min(most, sessions.length) }, () =>
    random.pick(sessions),
  );
  for (const { pid } of chosen) await postgres.sql`select pg_terminate_backend(${pid})`;
  return chosen.length;
}

export const deafened = scenario('LISTEN killed every second', async (world) => {
  world.load.start(LOAD_PER_SECOND);
  let count = 0;
  for (let second = 0; second < 20; second += 1) {
    await pause(1_000);
    const rows = await world.postgres.sql`
      select pg_terminate_backend(pid) from pg_stat_activity
      where application_name = 'errand listen'`;
    count += rows.length;
  }
  world.remark(`${count} killed`);
  if (count < 20) world.complain(`only ${count} listeners came back to be killed again`);
});
