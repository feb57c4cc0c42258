import type { Arrival } from './sighting.ts';
import type { Period } from './windows.ts';

/** The time of a call at the target; one without an end is still worked on. */
export type Call = Pick<Arrival, 'atMs' | 'endedMs'>;

/** The most calls that were worked on at once at any time of the period. */
export function mostInFlight(calls: readonly Call[], period: Period): number {
  const changes = changesIn(calls, period);
  return changes.reduce((most, { inFlight }) => Math.max(most, inFlight), 0);
}

/** How many calls were worked on in the mean over these periods; null when they have no length. */
export function meanInFlight(calls: readonly Call[], periods: readonly Period[]): number | null {
  let [callMs, wholeMs] = [0, 0];
  for (const period of periods) {
    wholeMs += period.toMs - period.fromMs;
    for (const call of calls) {
      const { fromMs, toMs } = timeIn(call, period);
      callMs += Math.max(0, toMs - fromMs);
    }
  }
  return wholeMs === 0 ? null : callMs / wholeMs;
}

/**
 * Seconds from the beginning of the period until the calls in flight keep to a lowered number of places,
 * or first use a raised one; Infinity when that is never used.
 */
export function secondsUntilPlaces(
  calls: readonly Call[],
  period: Period,
  { from, to }: { from: number; to: number },
): number {
  const changes = changesIn(calls, period);
  const seconds = (atMs: number) => (atMs - period.fromMs) / 1000;
  if (to > from) {
    const first = changes.find(({ inFlight }) => inFlight > from);
    return first ? seconds(first.atMs) : Number.POSITIVE_INFINITY;
  }
  const last = changes.findLastIndex(({ inFlight }) => inFlight > to);
  return last < 0 ? 0 : seconds(changes[last + 1]?.atMs ?? period.toMs);
}

/** Each moment at which the number of calls in flight changed; an end comes before a beginning. */
function changesIn(calls: readonly Call[], period: Period) {
  const steps = calls
    .map((call) => timeIn(call, period))
    .filter(({ fromMs, toMs }) => fromMs < toMs)
    .flatMap(({ fromMs, toMs }) => [
      { atMs: fromMs, by: 1 },
      { atMs: toMs, by: -1 },
    ])
    .sort((a, b) => a.atMs - b.atMs || a.by - b.by);
  let inFlight = 0;
  return steps.map(({ atMs, by }) => {
    inFlight += by;
    return { atMs, inFlight };
  });
}

function timeIn({ atMs, endedMs }: Call, { fromMs, toMs }: Period): Period {
  return {
    fromMs: Math.max(atMs, fromMs),
    toMs: Math.min(endedMs ?? Number.POSITIVE_INFINITY, toMs),
  };
}
