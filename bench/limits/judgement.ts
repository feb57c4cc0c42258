import type { Course } from './disturbances.ts';
import {
  type Finding,
  judgeChange,
  judgeConcurrency,
  judgeRate,
  lanesOf,
} from './limit-findings.ts';
import type { ManyQueues, Round } from './many-queues.ts';
import { MEASURED } from './measured-queues.ts';
import type { Arrival, Sighting } from './sighting.ts';
import { longestGap } from './windows.ts';

const BOUND = { manyQueuesSeconds: 3, newQueuesSeconds: 6, idleStatementsPerSecond: 10 };

export interface QueueFigures {
  calls: number;
  findings: Finding[];
  /** Longest time without a call around each disturbance, in seconds. */
  gaps: Record<string, number>;
  /** Calls beyond the first of each task, and those of them whose attempt number did not rise. */
  repeats: number;
  staleRepeats: number;
}

export function judgeQueue(name: string, sighting: Sighting, course: Course): QueueFigures {
  const queue = MEASURED[name]!;
  const calls = sighting.arrivals.filter((arrival) => arrival.queue === name);
  const stamps = calls.map(({ atMs }) => atMs);
  const lanes = lanesOf(queue, calls);
  const changes = course.changes.filter((change) => change.queue === name);
  const title = queue.keys === null ? name : `${name}, each key`;
  return {
    calls: calls.length,
    findings: [
      ...judgeRate(title, queue, { lanes, changes, course }),
      ...judgeConcurrency(title, queue, { lanes, changes, course }),
      ...changes.map((change, index) =>
        judgeChange(queue, change, calls, changes[index + 1]?.sentMs ?? course.whole.toMs),
      ),
    ],
    gaps: Object.fromEntries(
      course.disturbances.map((period) => [period.name, longestGap(stamps, period)]),
    ),
    ...countRepeats(calls),
  };
}

/** A call with a number that its task has had before comes from a dispatcher that lost its lease. */
export function judgeStaleCalls(queues: Record<string, QueueFigures>): Finding {
  const stale = Object.values(queues).reduce((sum, { staleRepeats }) => sum + staleRepeats, 0);
  return {
    limit: 'all queues: stale calls',
    worst: String(stale),
    allowed: '0',
    verdict: stale > 0 ? 'EXCEEDED' : 'kept',
    used: null,
  };
}

export function judgeManyQueues(many: ManyQueues): Finding[] {
  const { queues, first, again, idleStatementsPerSecond } = many;
  const isBusy = idleStatementsPerSecond >= BOUND.idleStatementsPerSecond;
  return [
    judgeRound(`${queues} queues: a task in each`, queues, again, BOUND.manyQueuesSeconds),
    judgeRound('… and the first time ever', queues, first, BOUND.newQueuesSeconds),
    {
      limit: `${queues} idle queues: statements a dispatcher`,
      worst: `${idleStatementsPerSecond.toFixed(1)}/s`,
      allowed: `under ${BOUND.idleStatementsPerSecond}/s`,
      verdict: isBusy ? 'EXCEEDED' : 'kept',
      used: null,
    },
  ];
}

function judgeRound(limit: string, queues: number, round: Round, seconds: number): Finding {
  const isKept = round.arrivals === queues && round.seconds <= seconds;
  return {
    limit,
    worst: `${round.arrivals} called in ${round.seconds.toFixed(1)} s`,
    allowed: `${seconds} s`,
    verdict: isKept ? 'kept' : 'EXCEEDED',
    used: null,
  };
}

/** A lease that is given back was never called, so each call of a task has a number of its own. */
function countRepeats(arrivals: readonly Arrival[]): { repeats: number; staleRepeats: number } {
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
