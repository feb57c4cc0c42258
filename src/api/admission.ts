import type { QueueRecord } from '../model.ts';
import type { ProjectQuotas } from '../protocol/access.ts';
import type { Database } from '../store/database.ts';
import type { NewTask } from '../store/enqueue.ts';
import { findRepeats } from '../store/enqueue-named.ts';
import { countProjectBacklog } from '../store/project-quota.ts';
import { createAllowances } from './allowance.ts';
import { type Admission, createBacklog } from './backlog.ts';
import { ProblemError } from './problem.ts';
import { createTtlCache } from './ttl-cache.ts';

const LIMITS = { ttlMs: 1_000, maxEntries: 10_000 };
/** A backlog is counted anew by then. */
const RECOUNT_SECONDS = 1;

/**
 * Keeps queues at their `maxBacklog` (`backlog.ts`) and projects at their quotas. A project's backlog is
 * counted and passed in the same way as a queue's. Who has no quotas costs nothing.
 */
export interface Admissions {
  /** Takes room for new tasks. The repeat of a request needs none: it has made its task already. */
  admit(queue: QueueRecord, tasks: readonly NewTask[], quotas: ProjectQuotas): Promise<Admission>;
}

/** `nowMs` is a monotonic clock. */
export function createAdmissions(
  database: Database,
  nowMs: () => number = () => performance.now(),
): Admissions {
  const backlog = createBacklog(database, nowMs);
  const allowances = createAllowances(database, nowMs);
  const counts = createTtlCache(
    LIMITS,
    async (key) => {
      const [project = '', max] = key.split('/');
      return {
        waiting: await database.run((sql) => countProjectBacklog(sql, project, Number(max))),
      };
    },
    nowMs,
  );

  /** Room in the project for up to `wanted` tasks, and what to tell those for which there is none. */
  async function reserve(project: string, wanted: number, quotas: ProjectQuotas) {
    const { maxBacklog, maxEnqueuesPerSecond } = quotas;
    const count = maxBacklog === null ? null : (await counts.get(`${project}/${maxBacklog}`))!;
    const places = count ? Math.max(0, Math.min(wanted, maxBacklog! - count.waiting)) : wanted;
    if (count) count.waiting += places;
    const draw =
      maxEnqueuesPerSecond === null || places === 0
        ? { granted: places, nextInSeconds: 0 }
        : await allowances.draw(project, places, maxEnqueuesPerSecond, quotas.maxEnqueueBurst);
    if (count) count.waiting -= places - draw.granted;
    return {
      granted: draw.granted,
      refusal: () =>
        places < wanted && draw.granted === places
          ? backlogFull(project, maxBacklog!)
          : tooFast(project, maxEnqueuesPerSecond!, draw.nextInSeconds),
      giveBack(unused: number) {
        if (count) count.waiting -= unused;
        if (maxEnqueuesPerSecond !== null) allowances.giveBack(project, unused);
      },
    };
  }

  return {
    async admit(queue, tasks, quotas) {
      const inQueue = await backlog.admit(queue, tasks);
      const wanted = inQueue.accepted.length;
      if (wanted === 0 || !hasQuotas(quotas)) return inQueue;
      const room = await reserve(queue.project, wanted, quotas);
      if (room.granted === wanted) return both(inQueue, room);
      // Only where there is too little room is it worth a statement to know who needs none.
      const repeats = await database.run((sql) => findRepeats(sql, inQueue.accepted));
      const fresh = inQueue.accepted.filter((task) => !repeats.has(task));
      const accepted = fresh.slice(0, room.granted);
      room.giveBack(room.granted - accepted.length);
      inQueue.giveBack(wanted - accepted.length);
      const refused = fresh.slice(accepted.length).map((task) => [task, room.refusal()] as const);
      const answers = new Map([...inQueue.answers, ...repeats, ...refused]);
      return { ...both(inQueue, room), accepted, answers };
    },
  };
}

function hasQuotas({ maxBacklog, maxEnqueuesPerSecond }: ProjectQuotas): boolean {
  return maxBacklog !== null || maxEnqueuesPerSecond !== null;
}

function both(inQueue: Admission, inProject: Pick<Admission, 'giveBack'>): Admission {
  return {
    ...inQueue,
    giveBack(unused) {
      inQueue.giveBack(unused);
      inProject.giveBack(unused);
    },
  };
}

function backlogFull(project: string, maxBacklog: number): ProblemError {
  return exceeded(`Project "${project}" has its ${maxBacklog} waiting tasks`, RECOUNT_SECONDS);
}

/** At a rate of 0 there is no next one; who asks all the same asks once a minute. */
function tooFast(project: string, rate: number, nextInSeconds: number | null): ProblemError {
  const seconds = nextInSeconds === null ? 60 : Math.min(3_600, Math.ceil(nextInSeconds));
  return exceeded(`Project "${project}" enqueues its ${rate} tasks a second`, Math.max(1, seconds));
}

function exceeded(what: string, retryAfterSeconds: number): ProblemError {
  return new ProblemError(
    'quota-exceeded',
    `${what}; repeat the request later`,
    { retryAfterSeconds },
    { 'retry-after': String(retryAfterSeconds) },
  );
}
