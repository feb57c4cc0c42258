import type { Course } from './disturbances.ts';
import type { MeasuredQueue } from './measured-queues.ts';
import { meanInFlight, mostInFlight, secondsUntilPlaces } from './occupancy.ts';
import {
  IN_FORCE_WITHIN_MS,
  type LimitChange,
  overlap,
  type Phase,
  phasesOf,
  stretchesUnder,
} from './phases.ts';
import type { Arrival } from './sighting.ts';
import {
  type Limit,
  mostAllowed,
  mostInWindow,
  type Period,
  rateUsed,
  secondsUntilRate,
  stampsIn,
} from './windows.ts';

const LEAST_RATE_USED = 0.97;
const WINDOWS_SECONDS = [0.1, 0.2, 0.5, 1, 2, 5, 10, 30];

/** One bound, and the worst that was seen against it. */
export interface Finding {
  limit: string;
  worst: string;
  allowed: string;
  verdict: 'kept' | 'EXCEEDED' | 'UNDERUSED';
  /** Share of the limit that was used in steady time; null where it means nothing. */
  used: number | null;
  /** By a window's length in seconds, for rates. */
  windows?: Record<string, { most: number; allowed: number }>;
}

/** What is judged together: the calls of a queue, or of one of its flow keys. */
interface Lane {
  calls: Arrival[];
  stamps: number[];
  /** Which of its limits it has the work to use up. */
  isBoundBy: 'rate' | 'concurrency';
}

interface Evidence {
  lanes: Lane[];
  changes: LimitChange[];
  course: Course;
}

/** A finding for each rate that the queue had: the worst window of the worst lane. */
export function judgeRate(
  title: string,
  { rate }: MeasuredQueue,
  { lanes, changes, course: { whole, steady } }: Evidence,
): Finding[] {
  if (rate === null) return [];
  const phases = phasesOf(rate.ratePerSecond, changes, whole);
  return limitsIn(phases).map((ratePerSecond) => {
    const stretches = stretchesUnder(ratePerSecond, phases, whole);
    const windows = worstWindows(lanes, stretches, { ...rate, ratePerSecond });
    // The one with the least room left: by the ratio it would always be the longest.
    const worst = windows.toSorted((a, b) => a.allowed - a.most - (b.allowed - b.most))[0];
    const certain = steadyUnder(ratePerSecond, phases, steady);
    const used = lanes
      .filter(({ isBoundBy }) => isBoundBy === 'rate')
      .map(({ stamps }) => rateUsed(stamps, certain, ratePerSecond));
    return {
      limit: `${title}: ${ratePerSecond}/s, burst ${rate.burst}`,
      worst: worst ? `${worst.most} in ${worst.seconds} s` : 'no window',
      allowed: worst ? String(Math.floor(worst.allowed)) : '',
      verdict: judgeRateUse(windows, least(used)),
      used: least(used),
      windows: Object.fromEntries(
        windows.map(({ seconds, most, allowed }) => [seconds, { most, allowed }]),
      ),
    };
  });
}

/** For each length that fits, the most of any lane in any window that lies within a stretch. */
function worstWindows(lanes: readonly Lane[], stretches: readonly Period[], limit: Limit) {
  return WINDOWS_SECONDS.flatMap((seconds) => {
    const most = stretches
      .filter(({ fromMs, toMs }) => toMs - fromMs >= seconds * 1000)
      .flatMap((stretch) => lanes.map(({ stamps }) => stampsIn(stamps, stretch)))
      .map((stamps) => mostInWindow(stamps, seconds * 1000));
    if (most.length === 0) return [];
    return [{ seconds, most: Math.max(...most), allowed: mostAllowed(limit, seconds) }];
  });
}

function judgeRateUse(
  windows: ReturnType<typeof worstWindows>,
  used: number | null,
): Finding['verdict'] {
  if (windows.some(({ most, allowed }) => most > allowed)) return 'EXCEEDED';
  return (used ?? 1) < LEAST_RATE_USED ? 'UNDERUSED' : 'kept';
}

/** A finding for each number of places that the queue had: the most calls at once of the worst lane. */
export function judgeConcurrency(
  title: string,
  { concurrency }: MeasuredQueue,
  { lanes, changes, course: { whole, steady } }: Evidence,
): Finding[] {
  if (concurrency === null) return [];
  const phases = phasesOf(concurrency, changes, whole);
  return limitsIn(phases).map((places) => {
    const stretches = stretchesUnder(places, phases, whole);
    const most = Math.max(
      0,
      ...lanes.flatMap(({ calls }) => stretches.map((stretch) => mostInFlight(calls, stretch))),
    );
    const certain = steadyUnder(places, phases, steady);
    const used = lanes
      .filter(({ isBoundBy }) => isBoundBy === 'concurrency')
      .map(({ calls }) => meanInFlight(calls, certain))
      .map((mean) => mean && mean / places);
    return {
      limit: `${title}: ${places} at once`,
      worst: `${most} at once`,
      allowed: String(places),
      verdict: most > places ? 'EXCEEDED' : 'kept',
      used: least(used),
    };
  });
}

/** How long after its answer a change was seen at the target, before the next was sent. */
export function judgeChange(
  { rate }: MeasuredQueue,
  change: LimitChange,
  calls: Arrival[],
  untilMs: number,
): Finding {
  const period = { fromMs: change.answeredMs, toMs: untilMs };
  const stamps = calls.map(({ atMs }) => atMs);
  const seconds = rate
    ? secondsUntilRate(stamps, period, change)
    : secondsUntilPlaces(calls, period, change);
  return {
    limit: `PATCH ${change.queue} ${change.from} → ${change.to}: seen at the target`,
    worst: `after ${seconds.toFixed(2)} s`,
    allowed: `${IN_FORCE_WITHIN_MS / 1000} s`,
    verdict: seconds * 1000 > IN_FORCE_WITHIN_MS ? 'EXCEEDED' : 'kept',
    used: null,
  };
}

/** Each flow key by itself where there are some. */
export function lanesOf({ rate, concurrency, keys }: MeasuredQueue, calls: Arrival[]): Lane[] {
  return Object.entries(keys ?? { '': null }).map(([key, workMs]) => {
    const own = calls.filter((call) => call.key === key);
    const placesWanted = ((workMs ?? 0) / 1000) * (rate?.ratePerSecond ?? 0);
    const lacksPlaces = concurrency !== null && (rate === null || placesWanted > concurrency);
    return {
      calls: own,
      stamps: own.map(({ atMs }) => atMs),
      isBoundBy: lacksPlaces ? 'concurrency' : 'rate',
    };
  });
}

function limitsIn(phases: readonly Phase[]): number[] {
  return [...new Set(phases.map(({ limit }) => limit))];
}

/** Steady time in which this limit and no other was in force. */
function steadyUnder(limit: number, phases: readonly Phase[], steady: Course['steady']) {
  return phases
    .filter((phase) => phase.limit === limit)
    .flatMap(({ certain }) => steady.flatMap((period) => overlap(period, certain)));
}

function least(shares: readonly (number | null)[]): number | null {
  const known = shares.filter((share) => share !== null);
  return known.length === 0 ? null : Math.min(...known);
}
