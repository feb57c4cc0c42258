import { createHash } from 'node:crypto';

/**
 * What goes wrong on purpose, the first time a task is called: an answer with status 500 before any
 * work; no answer until the service hangs up; the connection cut after the work was done, so that the
 * same work comes again.
 */
export type Fault = 'status-500' | 'timeout' | 'dropped';

/** The deadline of the tasks that will time out, so that the demo needn't wait long for them. */
export const SHORT_DEADLINE_SECONDS = 1;

/** Parts of 1,000 tasks. */
const SHARES: [Fault, number][] = [
  ['status-500', 40],
  ['dropped', 40],
  ['timeout', 15],
];

/** Decided by the name alone, so that the one who enqueues and the one who answers agree. */
export function faultOfTask(name: string): Fault | null {
  const place = createHash('sha256').update(name).digest().readUInt32BE() % 1000;
  let end = 0;
  for (const [fault, share] of SHARES) {
    end += share;
    if (place < end) return fault;
  }
  return null;
}

/** Two steps of the walk fail as well, one of them after it has enqueued its tasks. */
export function faultOfStep(step: number): Fault | null {
  if (step === 1) return 'dropped';
  return step === 3 ? 'status-500' : null;
}
