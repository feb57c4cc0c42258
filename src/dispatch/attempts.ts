import { setTimeout as delay } from 'node:timers/promises';
import type { Log } from '../log.ts';
import type { ClaimedTask, Settlement, WakeUp } from '../model.ts';
import { judgeCall } from '../policy/breaker.ts';
import type { Database } from '../store/database.ts';
import { isDatabaseAway } from '../store/errors.ts';
import { isLocked } from '../store/vault.ts';
import type { Claim } from './claimer.ts';
import { createClaimAhead } from './claim-ahead.ts';
import { type DeliverParts, deliver, lostAttempt, prepareCall } from './deliver.ts';
import type { Health } from './health.ts';
import { createPostponer } from './postponer.ts';
import { passGates, type QueueState, returnTurn } from './queue-state.ts';
import { createReleaser } from './releaser.ts';
import type { Settler } from './settler.ts';
import { createSlots } from './slots.ts';

/** How many tasks may be claimed. */
export interface Slots {
  /**
   * So many more, besides those promised: for slots that are idle, and some ahead, but not where queues
   * of different weights share them (`isUneven`): each claim is shared for itself, and their sizes differ.
   */
  room(promised: number, isUneven?: boolean): number;
  /**
   * So many more of a queue that has `inFlight` in hand: what hangs in one must not take the slots of all,
   * and a claim should bring many.
   */
  roomOf(inFlight: number): number;
}

export interface Attempts extends Slots {
  /** Dispatches what was claimed, and settles what comes of it. */
  start(task: ClaimedTask, state: QueueState, claim: Claim): void;
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
  /** True where a queue may take every slot, and nothing may go before it. Default false. */
  isStrict?: boolean;
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
  claim: Claim;
  call: ReturnType<typeof prepareCall>;
  /** For a slot, or for its turn at the gate. */
  isWaiting: boolean;
}

/** What is claimed is called in its order, so by so much at most is a queue's share put off. */
const AHEAD_PER_SLOT = 2;
/** Measured: claims of more were no cheaper by the task. */
const MAX_AHEAD = 512;
/** The share of the slots that no queue gets alone. */
const SHARE_FOR_OTHERS = 1 / 16;
/** With so much of payloads in hand nothing more is claimed. */
const MAX_BYTES_IN_HAND = 32 * 1024 * 1024;
/** Until a task is looked at again that this process has not the master key for. */
const LOCKED_SECONDS = 15;

/** The attempts in hand: from claimed through gate, call and decision to written. */
export function createAttempts(options: AttemptsOptions): Attempts {
  const { log, monotonic } = options;
  const forOthers = options.isStrict ? 0 : Math.floor(options.concurrency * SHARE_FOR_OTHERS);
  const most = options.concurrency - forOthers;
  const postponeLease = createPostponer(options.database);
  const release = createReleaser(options);
  const ahead = createClaimAhead(
    monotonic,
    options.isStrict ? 0 : Math.min(MAX_AHEAD, options.concurrency * AHEAD_PER_SLOT),
  );
  const slots = createSlots<InHand, QueueState>({
    slots: options.concurrency,
    slotsOfQueue: most,
    queueOf: ({ state }) => state,
    onEntered: attempt,
  });
  const inHand = new Map<string, InHand>();
  let begun = 0;
  let bytesInHand = 0;
  let isDraining = false;

  function start(task: ClaimedTask, state: QueueState, claim: Claim): void {
    const call = prepareCall(options, task, state.record);
    const one = { task, state, claim, call, isWaiting: true };
    inHand.set(task.leaseId, one);
    bytesInHand += task.body.length;
    begun += 1;
    ahead.noteClaim(monotonic() - claim.sentMs);
    // A forced one took no place when it was claimed, but it has one now.
    if (claim.isForced) state.inFlight += 1;
    slots.enter(one);
  }

  /** What was decided is written while the slot is free again already. */
  async function attempt(one: InHand): Promise<void> {
    const { task, state, claim } = one;
    try {
      const seconds = claim.isForced ? 0 : secondsAtGate(one);
      if (seconds > 0) await waitAtGate(one, seconds);
      // A drain has given it back.
      if (!one.isWaiting) return;
      one.isWaiting = false;
      if (mayBegin(claim)) await dispatch(one);
      else await giveBack(task, state);
      state.inFlight -= 1;
    } finally {
      slots.leave(one);
      options.onFree();
    }
  }

  /** Asked once more when the connection is there: the process may have been frozen meanwhile. */
  function mayBegin(claim: Claim): boolean {
    return !isDraining && monotonic() - claim.sentMs < options.freshMs && options.isCertain();
  }

  async function dispatch(one: InHand): Promise<void> {
    const { task, state, claim } = one;
    const admission = options.health.admit(state, task.url, claim.isForced);
    if (admission.kind === 'postpone') return putOff(one, admission.delaySeconds);
    const settlement = await call(one);
    // It stays in hand until it is settled, its token and what hangs on it need not.
    one.call = null;
    if (settlement === 'locked') {
      options.health.note(state, admission, null);
      return putOff(one, LOCKED_SECONDS);
    }
    options.health.note(state, admission, settlement);
    if (settlement === null) return giveBack(task, state);
    // What fails is not claimed ahead: when a breaker opens, only as many as there are slots go back.
    if (judgeCall(settlement.outcome, settlement.status) === 'good') ahead.note();
    void settle(task, state, settlement);
  }

  /** It may not be called for now, and waits where it costs nothing. */
  async function putOff({ task, state, claim }: InHand, delaySeconds: number): Promise<void> {
    if (!claim.isForced) returnTurn(state, monotonic());
    // First in its key's line it holds its key there too, whatever becomes of this process.
    if (state.flow?.isHolder(task)) return giveBack(task, state, delaySeconds);
    state.flow?.undo(task, monotonic());
    return postpone(task, delaySeconds);
  }

  /** Claims can come in bunches; calls begin no faster than the rate allows. */
  async function waitAtGate(one: InHand, seconds: number): Promise<void> {
    for (let left = seconds; left > 0; left = secondsAtGate(one)) {
      await delay(Math.min(left * 1000, options.freshMs), undefined, { ref: false });
    }
  }

  /** 0 once it is through, or is to wait no more. */
  function secondsAtGate({ task, state }: InHand): number {
    return isDraining ? 0 : passGates(state, task, monotonic());
  }

  /**
   * Null when it did not begin: the claim is old by now, or the key to sign it with was not to be had.
   * `locked`: a key that it needs is there, but does not open with our master key.
   */
  async function call({ task, state, claim, call }: InHand): Promise<Settlement | 'locked' | null> {
    try {
      return await deliver(options, task, state.record, call, () => mayBegin(claim));
    } catch (error) {
      if (isDatabaseAway(error)) return null;
      if (isLocked(error)) {
        log.error({ task: task.taskId, error }, 'not called, but put off');
        return 'locked';
      }
      log.error({ task: task.taskId, error }, 'an attempt failed before its call');
      return lostAttempt(task, state.record, options.clock.now());
    }
  }

  async function settle(
    task: ClaimedTask,
    state: QueueState,
    settlement: Settlement,
  ): Promise<void> {
    const isValid = await options.settler.settle(settlement);
    leaveHand(task.leaseId);
    if (state.flow !== null && task.flowKey !== null) {
      // Whoever settled it instead of us took it for lost, and has it tried again.
      state.flow.finish(task, isValid ? settlement.decision.kind : 'retry', monotonic());
      options.onFree();
    }
    if (!isValid) log.warn({ task: task.taskId }, 'the lease was lost before its settlement');
  }

  /** False when it was not in hand any more. */
  function leaveHand(leaseId: string): boolean {
    bytesInHand -= inHand.get(leaseId)?.task.body.length ?? 0;
    return inHand.delete(leaseId);
  }

  function giveBack(task: ClaimedTask, state: QueueState, delaySeconds = 0): Promise<void> {
    return putBack(task, () => release(task, state, delaySeconds));
  }

  /** This was no attempt. */
  function postpone(task: ClaimedTask, delaySeconds: number): Promise<void> {
    return putBack(task, () => postponeLease({ ...task, delaySeconds }));
  }

  async function putBack({ taskId, leaseId }: ClaimedTask, work: () => Promise<WakeUp[]>) {
    try {
      const wakeUps = await work();
      if (!isDraining) options.onWakeUps(wakeUps);
    } catch (error) {
      // It will be found as lost when its lease ends or this dispatcher is gone.
      if (!isDatabaseAway(error)) log.warn({ task: taskId, error }, 'not given back');
    } finally {
      if (leaveHand(leaseId)) begun -= 1;
    }
  }

  /** All that waits, at once: one by one, as slots free up, each would be a statement. */
  function giveBackWaiting(): void {
    slots.clear();
    for (const one of inHand.values()) {
      if (!one.isWaiting) continue;
      one.isWaiting = false;
      one.state.inFlight -= 1;
      void giveBack(one.task, one.state);
    }
  }

  return {
    start,
    room(promised, isUneven = false) {
      if (bytesInHand > MAX_BYTES_IN_HAND) return 0;
      const idle = options.concurrency - slots.taken();
      const coming = slots.waiting() + promised;
      const soon = isUneven ? 0 : ahead.most();
      // A claim that brings a hundred costs little more than one that brings one.
      return coming > idle + soon / 2 ? 0 : idle + soon - coming;
    },
    roomOf(inFlight) {
      const soon = ahead.most();
      const left = most + soon - inFlight;
      return inFlight > most && left < soon / 2 ? 0 : left;
    },
    begun: () => begun,
    isInHand: (leaseId) => inHand.has(leaseId),
    async drain(graceMs) {
      isDraining = true;
      giveBackWaiting();
      const endMs = monotonic() + graceMs;
      while (inHand.size > 0 && monotonic() < endMs) await delay(10);
      options.settler.stopRetrying();
      await Promise.all([...inHand.values()].map(({ task, state }) => giveBack(task, state)));
    },
  };
}
