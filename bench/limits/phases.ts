import type { Period } from './windows.ts';

/** A PATCH of a queue's limit that was answered while the queue had more work than it may do. */
export interface LimitChange {
  queue: string;
  /** Dispatches a second, or places. */
  from: number;
  to: number;
  sentMs: number;
  answeredMs: number;
}

/** The time of one limit of a queue, from the change that set it to the next. */
export interface Phase {
  limit: number;
  /** When it may be in force: from the request that set it until the next change has bitten. */
  possible: Period;
  /** When it and no other may be: from a second after that request's answer until the next is sent. */
  certain: Period;
}

/** A change of a limit has to be in force within this time of its answer. */
export const IN_FORCE_WITHIN_MS = 1_000;

/** The phases of a queue's limit over the whole run; the changes are in the order of their times. */
export function phasesOf(limit: number, changes: readonly LimitChange[], whole: Period): Phase[] {
  return [limit, ...changes.map(({ to }) => to)].map((limit, index) => {
    const set = changes[index - 1];
    const unset = changes[index];
    return {
      limit,
      possible: {
        fromMs: set?.sentMs ?? whole.fromMs,
        toMs: unset ? unset.answeredMs + IN_FORCE_WITHIN_MS : whole.toMs,
      },
      certain: {
        fromMs: set ? set.answeredMs + IN_FORCE_WITHIN_MS : whole.fromMs,
        toMs: unset?.sentMs ?? whole.toMs,
      },
    };
  });
}

/**
 * The stretches in which no limit above this one may be in force: whatever lies in one of them has to
 * keep to it, and what reaches out of them is judged by a larger one.
 */
export function stretchesUnder(limit: number, phases: readonly Phase[], whole: Period): Period[] {
  const larger = phases.filter((phase) => phase.limit > limit);
  return larger.reduce(
    (rest, { possible }) => rest.flatMap((one) => without(one, possible)),
    [whole],
  );
}

/** The limit that counts for this period: the largest that may be in force in it. */
export function largestIn(period: Period, phases: readonly Phase[]): number {
  const possible = phases.filter((phase) => overlap(period, phase.possible).length > 0);
  return Math.max(...possible.map(({ limit }) => limit));
}

/** What two periods share, if anything. */
export function overlap(one: Period, other: Period): Period[] {
  const fromMs = Math.max(one.fromMs, other.fromMs);
  const toMs = Math.min(one.toMs, other.toMs);
  return fromMs < toMs ? [{ fromMs, toMs }] : [];
}

function without(one: Period, cut: Period): Period[] {
  return [
    { fromMs: one.fromMs, toMs: Math.min(one.toMs, cut.fromMs) },
    { fromMs: Math.max(one.fromMs, cut.toMs), toMs: one.toMs },
  ].filter(({ fromMs, toMs }) => fromMs < toMs);
}
