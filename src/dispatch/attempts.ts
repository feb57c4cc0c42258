import { setTimeout as delay } from 'node:timers/promises';
import pLimit from 'p-limit';
import type { Log } from '../log.ts';
import type { ClaimedTask, Settlement, WakeUp } from '../model.ts';
import type { Database } from '../store/database.ts';
import { isDatabaseAway } from '../store/errors.ts';
import { parkTasks } from '../store/park.ts';
import { postponeTasks } from '../store/postpone.ts';
import { releaseTasks } from '../store/release.ts';
import type { Claim } from './claimer.ts';
import { type DeliverParts, deliver, lostAttempt } from './deliver.ts';
import type { Health } from './health.ts';
import { passGate, type QueueState, returnTurn } from './queue-state.ts';
import type { Settler } from './settler.ts';

export interface Attempts {
  /** Dispatches what was claimed, and settles what comes of it. */
  start(task: ClaimedTask, state: QueueState, claim: Claim): void;
  /** Slots in which no call is. */
  freeSlots(): number;
  /** Tasks taken in hand so far, less those put back. */
  begun(): number;
  /** True from the claim until the settlement is written. */
  isInHand(leaseId: string): boolean;
  /** What has not begun is given back; waits for the rest at most so long, then gives it back too. */
  drain(graceMs: number): Promise<void>;
}

export interface AttemptsOptions extends DeliverParts {
  database: Database;
  log: Log;
  settler: Settler;
  health: Health;
  /** Calls in flight at most. */
  concurrency: number;
  /** A claim that is older when its call would begin is given back. */
  freshMs: number;
  /** True while a call may begin. */
  isCertain: () => boolean;
  /** A slot, or a place in a queue's limits, became free. */
  onFree: () => void;
  onWakeUps: (wakeUps: WakeUp[]) => void;
  /** A task of this queue was parked after all. */
  onParked: (state: QueueState) => void;
}

interface InHand {
  task: ClaimedTask;
  state: QueueState;
}

/** The attempts in hand: from claimed through gate, call and decision to written. */
export function createAttempts(options: AttemptsOptions): Attempts {
  const { database, log, monotonic } = options;
  const calls = pLimit(options.concurrency);
  const inHand = new Map<string, InHand>();
  let begun = 0;
  let isDraining = false;

  function start(task: ClaimedTask, state: QueueState, claim: Claim): void {
    inHand.set(task.leaseId, { task, state });
    begun += 1;
    // A forced one took no place when it was claimed, but it has one now.
    if (claim.isForced) state.inFlight += 1;
    void calls(() => attempt(task, state, claim)).finally(options.onFree);
  }

  /** What was decided is written while the slot is free again already. */
  async function attempt(task: ClaimedTask, state: QueueState, claim: Claim): Promise<void> {
    if (!claim.isForced) await waitAtGate(state);
    const isFresh = monotonic() - claim.sentMs < options.freshMs && options.isCertain();
    if (isDraining || !isFresh) await giveBack(task, state);
    else await dispatch(task, state, claim);
    state.inFlight -= 1;
  }

  async function dispatch(task: ClaimedTask, state: QueueState, claim: Claim): Promise<void> {
    const admission = options.health.admit(state, task.url, claim.isForced);
    if (admission.kind === 'postpone') {
      returnTurn(state, monotonic());
      state.flow?.undo(task, monotonic());
      return postpone(task, admission.delaySeconds);
    }
    const settlement = await call(task, state);
    options.health.note(state, admission, settlement);
    if (settlement === null) await giveBack(task, state);
    else void settle(task, state, settlement);
  }

  /** Claims can come in bunches; calls begin no faster than the rate allows. */
  async function waitAtGate(state: QueueState): Promise<void> {
    for (;;) {
      const seconds = isDraining ? 0 : passGate(state, monotonic());
      if (seconds <= 0) return;
      await delay(Math.min(seconds * 1000, options.freshMs));
    }
  }

  /** Null when it could not even begin, for the database that keeps the signing key is away. */
  async function call(task: ClaimedTask, { record }: QueueState): Promise<Settlement | null> {
    try {
      return await deliver(options, task, record);
    } catch (error) {
      if (isDatabaseAway(error)) return null;
      log.error({ task: task.taskId, error: String(error) }, 'an attempt failed before its call');
      return lostAttempt(task, record, options.clock.now());
    }
  }

  async function settle(
    task: ClaimedTask,
    state: QueueState,
    settlement: Settlement,
  ): Promise<void> {
    const isValid = await options.settler.settle(settlement);
    inHand.delete(task.leaseId);
    if (state.flow !== null && task.flowKey !== null) {
      // Whoever settled it instead of us took it for lost, and has it tried again.
      state.flow.finish(task, isValid ? settlement.decision.kind : 'retry', monotonic());
      options.onFree();
    }
    if (!isValid) log.warn({ task: task.taskId }, 'the lease was lost before its settlement');
  }

  function giveBack(task: ClaimedTask, state: QueueState): Promise<void> {
    return putBack(task, () => undo(task.shard, [{ task, state }]));
  }

  /** A task with a flow key is parked: in `ready` it would come after those of its key that are parked. */
  async function undo(shard: number, left: readonly InHand[]): Promise<WakeUp[]> {
    const isFlowed = ({ task, state }: InHand) => state.flow !== null && task.flowKey !== null;
    const flowed = left.filter(isFlowed);
    const plain = left.filter((one) => !isFlowed(one)).map(({ task }) => task);
    for (const { task, state } of flowed) state.flow?.undo(task, monotonic());
    if (flowed.length > 0) await database.run((sql) => parkTasks(sql, shard, flowed.map(parking)));
    for (const { task, state } of flowed) {
      state.flow?.noteParked(task, monotonic());
      options.onParked(state);
    }
    if (plain.length === 0) return [];
    return database.run((sql) => releaseTasks(sql, shard, plain));
  }

  /** Its origin is held: it waits where it costs nothing, and this was no attempt. */
  function postpone({ shard, ...task }: ClaimedTask, delaySeconds: number): Promise<void> {
    const lease = { ...task, delaySeconds };
    return putBack(task, () => database.run((sql) => postponeTasks(sql, shard, [lease])));
  }

  async function putBack(task: { leaseId: string }, work: () => Promise<WakeUp[]>): Promise<void> {
    try {
      const wakeUps = await work();
      if (!isDraining) options.onWakeUps(wakeUps);
    } catch (error) {
      // It will be found as lost when its lease ends or this dispatcher is gone.
      if (!isDatabaseAway(error)) throw error;
    } finally {
      inHand.delete(task.leaseId);
      begun -= 1;
    }
  }

  return {
    start,
    freeSlots: () => options.concurrency - calls.activeCount - calls.pendingCount,
    begun: () => begun,
    isInHand: (leaseId) => inHand.has(leaseId),
    async drain(graceMs) {
      isDraining = true;
      const endMs = monotonic() + graceMs;
      while (inHand.size > 0 && monotonic() < endMs) await delay(10);
      options.settler.stopRetrying();
      const left = Map.groupBy(inHand.values(), ({ task }) => task.shard);
      for (const [shard, tasks] of left) {
        await undo(shard, tasks).catch(() => undefined);
      }
    },
  };
}

function parking({ task, state }: InHand) {
  return { ...task, isHolder: state.flow?.isHolder(task) ?? false };
}
