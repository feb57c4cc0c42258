import type { Sent } from './load.ts';
import type { Arrival } from './target.ts';

/** What is known when everything has come to rest. */
export interface Evidence {
  sent: readonly Sent[];
  arrivals: readonly Arrival[];
  /** How each task ended, by its id. */
  finished: ReadonlyMap<string, string>;
}

export interface Verdict {
  /** Tasks that were answered 201. */
  acknowledged: number;
  /** Of these, the tokens of those that neither reached the target nor ended as dead. */
  lost: number[];
  /** What must not have been: a call nobody asked for, a task made twice, a lease used twice. */
  unexpected: string[];
  /** Calls of tasks that had been called before, other than after an answer that asked for it. */
  duplicated: number;
  /** Tasks of whose enqueue the outcome was unknown, and which were delivered. */
  recovered: number;
}

/**
 * Judges a run as Jepsen's `total-queue` does: whatever was acknowledged must come out, whatever comes
 * out must have been put in. "Out" is a call that the target answered with success and a record that
 * says so, or a record of a dead letter.
 */
export function judge({ sent, arrivals, finished }: Evidence): Verdict {
  const calls = Map.groupBy(arrivals, ({ token }) => token);
  const callsOf = ({ token }: Sent) => calls.get(token) ?? [];
  const isDelivered = (one: Sent) => callsOf(one).some(({ status }) => status === 200);
  const acknowledged = sent.filter(({ state }) => state === 'acknowledged');

  const isLost = (one: Sent) => {
    const end = finished.get(one.task ?? '');
    return one.fate === 'dies' ? end !== 'failed' : end !== 'succeeded' || !isDelivered(one);
  };
  return {
    acknowledged: acknowledged.length,
    lost: acknowledged.filter(isLost).map(({ token }) => token),
    unexpected: [...findStrangers(sent, calls), ...findTwins(calls), ...findStale(arrivals)],
    duplicated: [...calls.values()].reduce((sum, each) => sum + countDuplicates(each), 0),
    recovered: sent.filter((one) => one.state === 'unknown' && isDelivered(one)).length,
  };
}

/** Calls for tasks that were never sent, or of which the API had said that nothing was done. */
function findStrangers(
  sent: readonly Sent[],
  calls: ReadonlyMap<number, readonly Arrival[]>,
): string[] {
  const states = new Map(sent.map(({ token, state }) => [token, state]));
  return [...calls.keys()]
    .filter((token) => !['acknowledged', 'unknown'].includes(states.get(token) ?? 'never sent'))
    .map((token) => `task ${token} was called, though it was ${states.get(token) ?? 'never sent'}`);
}

/** One Idempotency-Key is one task, however often the enqueue was repeated. */
function findTwins(calls: ReadonlyMap<number, readonly Arrival[]>): string[] {
  return [...calls]
    .filter(([, each]) => new Set(each.map(({ task }) => task)).size > 1)
    .map(([token]) => `the enqueue of ${token} made two tasks`);
}

function findStale(arrivals: readonly Arrival[]): string[] {
  const seen = new Set<string>();
  return arrivals
    .filter(({ lease }) => seen.size === seen.add(lease).size)
    .map(({ token, lease }) => `the lease ${lease} of ${token} was used twice`);
}

function countDuplicates(calls: readonly Arrival[]): number {
  const refused = calls.slice(0, -1).filter(({ status }) => status === 500).length;
  return calls.length - 1 - refused;
}
