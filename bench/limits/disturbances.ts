import { setTimeout as pause } from 'node:timers/promises';
import type { Cluster } from './cluster.ts';
import { changeLimits, LIVE_CHANGES_SECONDS } from './live-changes.ts';
import type { LimitChange } from './phases.ts';
import { monotonicMs } from './sighting.ts';
import type { Period } from './windows.ts';

/** One thing that happens to the dispatchers, and for how long its effects may last. */
export interface Disturbance extends Period {
  name: string;
}

export interface Course {
  disturbances: Disturbance[];
  /** In a steady time, since nothing but the changed limits themselves has to follow them. */
  changes: LimitChange[];
  /** Times in which nothing happens and nothing has to recover. */
  steady: Period[];
  whole: Period;
}

/** Steady time between the disturbances, in shares of what is left beside them. */
const STEADY_SHARES = [0.25, 0.2, 0.15, 0.2, 0.2];
/** What a change of hands needs besides the take-over time, in seconds. */
const SETTLING = 2;

/** The least that a course needs, in seconds, with a little steady time. */
export function leastSeconds(takeoverSeconds: number): number {
  return disturbedSeconds(takeoverSeconds) + 5;
}

/**
 * Lets the owner of the queue `rate` die, then freezes its successor beyond the take-over time and wakes
 * it up, lets a new dispatcher join, asks the owner of that moment to leave, and changes limits live.
 */
export async function disturb(
  cluster: Cluster,
  { seconds, takeoverSeconds, say }: Options,
): Promise<Course> {
  const steadySeconds = seconds - disturbedSeconds(takeoverSeconds);
  const course: Course = {
    disturbances: [],
    changes: [],
    steady: [],
    whole: { fromMs: monotonicMs(), toMs: 0 },
  };
  const steady = async (index: number, work = async () => {}) => {
    const fromMs = monotonicMs();
    await pause(STEADY_SHARES[index]! * steadySeconds * 1000);
    await work();
    course.steady.push({ fromMs, toMs: monotonicMs() });
  };
  const happen = async (name: string, work: () => Promise<string>, lastsSeconds: number) => {
    const fromMs = monotonicMs();
    say(`${name} (${await work()})`);
    await pause(lastsSeconds * 1000);
    course.disturbances.push({ name, fromMs, toMs: monotonicMs() });
  };
  const signalOwner = async (signal: NodeJS.Signals) => {
    const pid = await cluster.ownerOf('rate');
    if (pid === null) throw new Error('Nobody owns the queue `rate`');
    cluster.dispatcher(pid).kill(signal);
    return pid;
  };

  await pause(SETTLING * 1000);
  await steady(0);
  await happen(
    'kill -9',
    async () => `pid ${await signalOwner('SIGKILL')}`,
    takeoverSeconds + SETTLING,
  );
  await steady(1);
  let frozen = 0;
  await happen(
    'freeze',
    async () => {
      frozen = await signalOwner('SIGSTOP');
      return `pid ${frozen}`;
    },
    1.5 * takeoverSeconds,
  );
  await happen(
    'wake',
    async () => {
      cluster.dispatcher(frozen).kill('SIGCONT');
      return `pid ${frozen}`;
    },
    SETTLING + takeoverSeconds / 5,
  );
  await steady(2);
  await happen(
    'join',
    async () => `pid ${await cluster.startDispatcher()}`,
    SETTLING + takeoverSeconds / 5,
  );
  await steady(3);
  await happen(
    'leave',
    async () => `pid ${await signalOwner('SIGTERM')}`,
    SETTLING + takeoverSeconds / 5,
  );
  await steady(4, async () => {
    course.changes = await changeLimits(cluster, say);
  });
  course.whole.toMs = monotonicMs();
  return course;
}

interface Options {
  seconds: number;
  takeoverSeconds: number;
  say: (line: string) => void;
}

function disturbedSeconds(takeoverSeconds: number): number {
  return 3.1 * takeoverSeconds + 5 * SETTLING + LIVE_CHANGES_SECONDS;
}
