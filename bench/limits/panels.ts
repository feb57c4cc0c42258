import type { Course } from './disturbances.ts';
import { MEASURED } from './measured-queues.ts';
import { mostInFlight } from './occupancy.ts';
import { largestIn, phasesOf } from './phases.ts';
import type { Arrival } from './sighting.ts';
import { type Limit, mostAllowed, type Period } from './windows.ts';

/** One queue over time: what was seen in each slice of it, and the most that slice may hold. */
export interface Panel {
  title: string;
  slices: { period: Period; seen: number; allowed: number; rate: number | null }[];
}

export function panelOfRate(
  title: string,
  name: string,
  { whole, changes }: Course,
  arrivals: readonly Arrival[],
): Panel {
  const limit = MEASURED[name]!.rate as Limit;
  const own = changes.filter(({ queue }) => queue === name);
  const phases = phasesOf(limit.ratePerSecond, own, whole);
  const calls = arrivals.filter(({ queue }) => queue === name);
  const slices = slicesOf(whole, 1_000).map((period) => {
    const within = calls.filter(({ atMs }) => period.fromMs <= atMs && atMs < period.toMs);
    const ofKeys = [...Map.groupBy(within, ({ key }) => key).values()];
    const ratePerSecond = largestIn(period, phases);
    return {
      period,
      seen: Math.max(0, ...ofKeys.map(({ length }) => length)),
      allowed: Math.floor(mostAllowed({ ...limit, ratePerSecond }, 1)),
      rate: ratePerSecond,
    };
  });
  return { title, slices };
}

export function panelOfPlaces(
  title: string,
  { whole, changes }: Course,
  arrivals: readonly Arrival[],
): Panel {
  const own = changes.filter(({ queue }) => queue === 'concurrency');
  const phases = phasesOf(MEASURED.concurrency!.concurrency!, own, whole);
  const calls = arrivals.filter(({ queue }) => queue === 'concurrency');
  const slices = slicesOf(whole, 500).map((period) => ({
    period,
    seen: mostInFlight(calls, period),
    allowed: largestIn(period, phases),
    rate: null,
  }));
  return { title, slices };
}

/** A slice that the run's end cuts short would say nothing. */
function slicesOf({ fromMs, toMs }: Period, lengthMs: number): Period[] {
  return Array.from({ length: Math.floor((toMs - fromMs) / lengthMs) }, (_, index) => ({
    fromMs: fromMs + index * lengthMs,
    toMs: fromMs + (index + 1) * lengthMs,
  }));
}
