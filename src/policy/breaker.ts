import type { CircuitBreakerSettings } from '../protocol/resources.ts';
import type { Outcome } from '../model.ts';

/**
 * A circuit breaker for one origin: it opens once most calls of the last minute failed, holds calls
 * back for a while, and then lets one probe at a time through: a good one closes it, a bad one opens it
 * again for longer. After M. Nygard, "Release It!" (2007), with a sliding window instead of a count of
 * failures in a row, which one good answer among many bad would start anew.
 *
 * The record is mutable and belongs to one owner. Times are milliseconds of a monotonic clock.
 */
export interface Breaker {
  /** The last minute's calls, the oldest first; while it is open, those that opened it. */
  slices: Slice[];
  /** Null while it is closed. */
  opening: Opening | null;
}

interface Slice {
  startMs: number;
  calls: number;
  failures: number;
}

interface Opening {
  /** From then on a probe may go. */
  untilMs: number;
  /** How often it opened in a row, from 1. */
  count: number;
  isProbeOut: boolean;
}

/** What one call says of its origin; null when it says nothing. */
export type Verdict = 'good' | 'bad' | null;

const WINDOW_MS = 60_000;
const SLICE_MS = 5_000;
/** `openSeconds` doubles with each opening in a row, up to this many times itself. */
const MAX_OPEN_FACTOR = 10;
/** Until then the probe has mostly been answered. */
const PROBE_WAIT_SECONDS = 5;

export function createBreaker(): Breaker {
  return { slices: [], opening: null };
}

/**
 * Whether a call is the fault of its origin: it could not be reached, did not answer in time, answered
 * with a 5xx, or with a 429. Any other answer is a good one here, whatever it means for the task: a 400
 * or 404 is the fault of the task. A call that was refused by our own rules, or of which nothing is
 * known, says nothing.
 */
export function judgeCall(outcome: Outcome | null, status: number | null): Verdict {
  switch (outcome) {
    case 'responded':
      return status !== null && (status >= 500 || status === 429) ? 'bad' : 'good';
    case 'timed_out':
    case 'unreachable':
      return 'bad';
    case 'blocked':
    case 'lost':
    case null:
      return null;
  }
}

/**
 * Whether a call may begin now. `probe` takes the one place for a probe: it must come back by
 * `noteOutcome` or `withdrawProbe`. Otherwise says when to ask again, in seconds above 0.
 *
 * @example
 * ```ts
 * const breaker = createBreaker();
 * mayCall(breaker, 0); // 'go'
 * ```
 */
export function mayCall(
  { opening }: Breaker,
  nowMs: number,
): 'go' | 'probe' | { retryInSeconds: number } {
  if (opening === null) return 'go';
  if (nowMs < opening.untilMs) return { retryInSeconds: (opening.untilMs - nowMs) / 1000 };
  if (opening.isProbeOut) return { retryInSeconds: PROBE_WAIT_SECONDS };
  opening.isProbeOut = true;
  return 'probe';
}

/**
 * Takes over what a call came to. Closed, it counts, and may open the breaker: when at least `minCalls`
 * of the last minute are known, and the failed ones are at least `failureShare` of them. Open, only the
 * probe counts; calls that began before are late news. Returns whether the breaker opened or closed.
 */
export function noteOutcome(
  breaker: Breaker,
  settings: CircuitBreakerSettings,
  call: { verdict: Verdict; isProbe: boolean },
  nowMs: number,
): boolean {
  if (breaker.opening !== null) {
    return call.isProbe && endProbe(breaker, breaker.opening, settings, call.verdict, nowMs);
  }
  if (call.verdict === null) return false;
  count(breaker, call.verdict === 'bad', nowMs);
  const { calls, failures } = recentCalls(breaker, nowMs);
  if (calls < settings.minCalls || failures < calls * settings.failureShare) return false;
  // Without a failure there is nothing to hold back, however low the share is set.
  if (failures === 0) return false;
  open(breaker, settings, 1, nowMs);
  return true;
}

/** The probe did not begin after all: another may. */
export function withdrawProbe({ opening }: Breaker): void {
  if (opening !== null) opening.isProbeOut = false;
}

/** Calls of the last minute that say something of the origin; open, it counts no more of them. */
export function recentCalls(
  { slices }: Breaker,
  nowMs: number,
): { calls: number; failures: number } {
  const sum = { calls: 0, failures: 0 };
  for (const slice of slices) {
    if (slice.startMs <= nowMs - WINDOW_MS) continue;
    sum.calls += slice.calls;
    sum.failures += slice.failures;
  }
  return sum;
}

function endProbe(
  breaker: Breaker,
  opening: Opening,
  settings: CircuitBreakerSettings,
  verdict: Verdict,
  nowMs: number,
): boolean {
  if (verdict === null) withdrawProbe(breaker);
  else if (verdict === 'good') Object.assign(breaker, createBreaker());
  else open(breaker, settings, opening.count + 1, nowMs);
  return verdict !== null;
}

function open(
  breaker: Breaker,
  { openSeconds }: CircuitBreakerSettings,
  count: number,
  nowMs: number,
): void {
  const factor = Math.min(MAX_OPEN_FACTOR, 2 ** (count - 1));
  breaker.opening = { untilMs: nowMs + openSeconds * factor * 1000, count, isProbeOut: false };
}

/** A slice's worth of calls is forgotten together, so the window is a minute less up to 5 s. */
function count({ slices }: Breaker, isFailure: boolean, nowMs: number): void {
  const startMs = Math.floor(nowMs / SLICE_MS) * SLICE_MS;
  while (slices.length > 0 && slices[0]!.startMs <= nowMs - WINDOW_MS) slices.shift();
  let slice = slices.at(-1);
  if (slice === undefined || slice.startMs < startMs) {
    slice = { startMs, calls: 0, failures: 0 };
    slices.push(slice);
  }
  slice.calls += 1;
  if (isFailure) slice.failures += 1;
}
