import type { Course } from './disturbances.ts';
import type { ManyQueues } from './many-queues.ts';
import { MEASURED } from './measured-queues.ts';
import type { Sighting } from './sighting.ts';
import { longestGap, mostAllowed, mostInWindow, utilisation } from './windows.ts';

export const BOUND = {
  utilisation: 0.97,
  manyQueuesSeconds: 3,
  idleStatementsPerSecond: 10,
};
const WINDOWS_SECONDS = [0.1, 0.2, 0.5, 1, 2, 5, 10, 30];

/** The worst that was seen of one queue, against what it may be. */
export interface QueueFigures {
  calls: number;
  /** By the window's length; null without a rate. */
  windows: Record<string, { most: number; allowed: number }> | null;
  mostInFlight: number;
  allowedInFlight: number | null;
  /** Share of the allowed rate in the steady periods; null without a rate, or with too few calls. */
  utilisation: number | null;
  /** Longest time without a call around each disturbance, in seconds. */
  gaps: Record<string, number>;
  /** Calls beyond the first of each task, and those of them whose attempt number did not rise. */
  repeats: number;
  staleRepeats: number;
}

export function judgeQueue(queue: string, sighting: Sighting, course: Course): QueueFigures {
  const { rate, concurrency } = MEASURED[queue]!;
  const arrivals = sighting.arrivals.filter((arrival) => arrival.queue === queue);
  const stamps = arrivals.map(({ atMs }) => atMs);
  const { whole } = course;
  const lengths = WINDOWS_SECONDS.filter((s) => s * 1000 <= whole.toMs - whole.fromMs);
  return {
    calls: arrivals.length,
    windows:
      rate &&
      Object.fromEntries(
        lengths.map((s) => [
          `${s} s`,
          { most: mostInWindow(stamps, s * 1000), allowed: mostAllowed(rate, s) },
        ]),
      ),
    mostInFlight: sighting.mostInFlight[queue] ?? 0,
    allowedInFlight: concurrency,
    utilisation: rate && utilisation(stamps, course.steady, rate),
    gaps: Object.fromEntries(
      course.disturbances.map((period) => [period.name, longestGap(stamps, period)]),
    ),
    ...countRepeats(arrivals),
  };
}

/** What was broken, a line each. */
export function findBroken(
  queues: Record<string, QueueFigures>,
  many: ManyQueues | null,
): string[] {
  const broken = Object.entries(queues).flatMap(([queue, figures]) => [
    ...Object.entries(figures.windows ?? {})
      .filter(([, { most, allowed }]) => most > allowed)
      .map(([s, { most, allowed }]) => `${queue}: ${most} calls in ${s}, allowed ${allowed}`),
    ...(figures.mostInFlight > (figures.allowedInFlight ?? Number.POSITIVE_INFINITY)
      ? [`${queue}: ${figures.mostInFlight} in flight, allowed ${figures.allowedInFlight}`]
      : []),
    ...((figures.utilisation ?? 1) < BOUND.utilisation
      ? [`${queue}: used ${percent(figures.utilisation!)} of its rate while nothing happened`]
      : []),
    ...(figures.staleRepeats > 0 ? [`${queue}: ${figures.staleRepeats} stale calls`] : []),
  ]);
  if (many === null) return broken;
  if (many.arrivals !== many.queues) broken.push(`${many.queues} queues: ${many.arrivals} calls`);
  if (many.dispatchSeconds > BOUND.manyQueuesSeconds)
    broken.push(`${many.queues} queues: a task in each took ${many.dispatchSeconds.toFixed(1)} s`);
  if (many.idleStatementsPerSecond >= BOUND.idleStatementsPerSecond)
    broken.push(`idle: ${many.idleStatementsPerSecond.toFixed(1)} statements a second`);
  return broken;
}

export function percent(share: number): string {
  return `${(share * 100).toFixed(1)} %`;
}

/** A call that gives back a lease may repeat its number; one that comes after a later number is stale. */
function countRepeats(arrivals: Sighting['arrivals']): { repeats: number; staleRepeats: number } {
  const latest = new Map<string, number>();
  let [repeats, staleRepeats] = [0, 0];
  for (const { task, attempt } of arrivals) {
    const known = latest.get(task);
    if (known !== undefined) repeats += 1;
    if (known !== undefined && attempt <= known) staleRepeats += 1;
    latest.set(task, Math.max(known ?? 0, attempt));
  }
  return { repeats, staleRepeats };
}
