import type { Random } from './random.ts';
import { createWorld, type Report, type World, type WorldOptions } from './world.ts';

/** One row of the table: a fault, or several, and what must hold all the same. */
export interface Scenario {
  name: string;
  /** Runs in the short form too, for a shorter time. */
  isInShort: boolean;
  run(how: How): Promise<Report>;
  /** Why it cannot be run here; null when it can. Default: it always can. */
  obstacle?(): Promise<string | null>;
}

export interface How {
  random: Random;
  isShort: boolean;
  /** Where to leave the processes' logs and what else is known; see WorldOptions. */
  logs?: string | undefined;
}

/** A scenario that happens in a world of its own: `happen` under load, then everything is judged. */
export function scenario(
  name: string,
  happen: (world: World, how: How) => Promise<void>,
  more: Partial<Omit<Scenario, 'name' | 'run'>> & { world?: Omit<WorldOptions, 'random'> } = {},
): Scenario {
  const { world: options = {}, ...rest } = more;
  return {
    name,
    isInShort: false,
    ...rest,
    async run(how) {
      const world = await createWorld({ ...options, ...worldOf(how) });
      try {
        await happen(world, how);
        return await world.finish();
      } finally {
        await world.close();
      }
    },
  };
}

/** What the way of running says of a world: the short form runs beside other tests. */
export function worldOf({ random, logs, isShort }: How): WorldOptions {
  return { random, logs, patience: isShort ? 4 : 1 };
}
