import type { Decision } from '../model.ts';
import { changeRate, returnTokens, secondsUntilToken, takeTokens } from '../policy/rate.ts';
import type { FlowLimits } from '../protocol/resources.ts';
import {
  begin,
  createFlowKey,
  createKeyBucket,
  type FlowCall,
  type FlowKey,
  type FlowTask,
  type FoundFlow,
  hold,
  isHeld,
  isIdle,
  openPlaces,
  rateOf,
  release,
  roomOf,
} from './flow-key.ts';
import { createTimeline } from './timeline.ts';

export interface Flow {
  /** True once what the store knows is known here: nothing of the queue is claimed before. */
  isLoaded: boolean;
  /** True when a claim found the queue changed or closed: its keys wait until it is looked at again. */
  isRefused: boolean;
  /** True when the task may be dispatched, which then counts; false when it is to be parked. */
  admit(task: FlowTask, nowMs: number): boolean;
  /** A task that was told to run now: it counts, but no limit stands in its way. */
  force(task: FlowTask): void;
  /** True for the task that comes before all others of its key. */
  isHolder(task: FlowTask): boolean;
  /** A task was parked, or may have been. */
  noteParked(task: FlowTask, nowMs: number): void;
  /** Takes what may be claimed from parked keys now, for at most `limit` tasks. */
  takeCallable(limit: number, nowMs: number): FlowCall[];
  /** What the claim of those calls brought; null when that is not known, and it was undone. */
  answer(calls: readonly FlowCall[], tasks: readonly FlowTask[] | null, nowMs: number): void;
  /** The dispatch of an admitted task did not come about; in an ordered flow it keeps its key. */
  undo(task: FlowTask, nowMs: number): void;
  /** An attempt is over and settled. */
  finish(task: FlowTask, kind: Decision['kind'], nowMs: number): void;
  /** True when a parked key had room at the last look or change. */
  hasCallable(): boolean;
  /**
   * Looks which keys have got a token. Seconds until a rate lets a parked key through: 0 when one may be
   * called now, Infinity when none waits for a token.
   */
  secondsUntilCallable(nowMs: number): number;
  /** Other limits, in force from now on; null = keys mean nothing, and all that is parked is called. */
  change(limits: FlowLimits | null, nowMs: number): void;
  load(found: FoundFlow, nowMs: number): void;
  /** Holders that have waited since before `sinceMs`, and calls of other owners: do they live still? */
  doubtful(sinceMs: number, nowMs: number): { holders: string[]; foreign: string[] };
  /** Those of the doubtful that have ended, or whose foreign lease has. */
  forget(gone: { holders: ReadonlySet<string>; foreign: ReadonlySet<string> }, nowMs: number): void;
  /** Drops what need not be remembered; true when nothing is left. */
  sweep(nowMs: number): boolean;
  parkedKeys(): number;
  /** Keys that tasks were last parked of: what is ready of them belongs behind those. */
  blockedKeys(): string[];
}

const DOUBTFUL_BATCH = 1_000;
const MOST_BLOCKED = 500;

/**
 * The limits of one queue's flow keys, in memory of the one process that owns the queue. A key at its
 * limit is parked: what comes later is parked behind, and its tasks are called from there as it has
 * room, so a key that waits costs the others nothing. In an ordered flow a task that began holds its
 * key until it ends.
 *
 * Keys' buckets are reckoned as empty at `emptyAtMs`, for nobody knows what an owner before us spent: a
 * key that was never seen has what its rate has brought since, and so an idle key may be forgotten.
 */
export function createFlow(first: FlowLimits | null, emptyAtMs: number): Flow {
  const keys = new Map<string, FlowKey>();
  // Parked keys that have room, in the order of their turns.
  const callable = new Set<string>();
  /** When parked keys that lack a token will have one. */
  const waiting = createTimeline<string>();
  const foreign = new Map<string, string>();
  const blocked = new Set<string>();
  let limits = first;
  let parked = 0;

  function keyOf(name: string): FlowKey {
    let key = keys.get(name);
    if (key === undefined) {
      key = createFlowKey(createKeyBucket(limits, emptyAtMs));
      keys.set(name, key);
    }
    return key;
  }

  function setParked(key: FlowKey, isParked: boolean): void {
    if (key.isParked !== isParked) parked += isParked ? 1 : -1;
    key.isParked = isParked;
  }

  /** After every change of a key: is it callable, does it wait for a token, is it to be forgotten? */
  function refresh(name: string, key: FlowKey, nowMs: number): void {
    if (!key.isParked || key.isCalling || isHeld(key, limits) || openPlaces(key, limits) < 1) {
      callable.delete(name);
    } else if (roomOf(key, limits, nowMs) >= 1) {
      callable.add(name);
    } else {
      callable.delete(name);
      waiting.add(name, nowMs + Math.ceil(secondsUntilToken(key.bucket!, nowMs) * 1000));
    }
    if (isIdle(key, nowMs)) keys.delete(name);
  }

  function noteBlocked(name: string): void {
    blocked.delete(name);
    blocked.add(name);
    const [oldest] = blocked;
    if (blocked.size > MOST_BLOCKED) blocked.delete(oldest!);
  }

  function wakeWaiting(nowMs: number): void {
    for (const name of waiting.takeDue(nowMs)) {
      const key = keys.get(name);
      if (key !== undefined) refresh(name, key, nowMs);
    }
  }

  function answerCall(call: FlowCall, brought: readonly FlowTask[] | null, nowMs: number): void {
    const key = keyOf(call.flowKey);
    key.isCalling = false;
    key.reserved -= call.limit;
    const unused = call.limit - (brought?.length ?? 0);
    if (key.bucket !== null) returnTokens(key.bucket, unused, nowMs);
    if (brought !== null && unused > 0) {
      if (key.isHolderParked && brought.length === 0) release(key);
      if (!key.hasNews) setParked(key, false);
    }
    for (const { taskId } of brought ?? []) begin(key, limits, taskId);
    refresh(call.flowKey, key, nowMs);
  }

  /** What is not a key's business, or not known any more, changes nothing. */
  function withKey({ flowKey }: FlowTask, nowMs: number, change: (key: FlowKey) => void): void {
    const key = flowKey === null ? undefined : keys.get(flowKey);
    if (flowKey === null || key === undefined) return;
    change(key);
    refresh(flowKey, key, nowMs);
  }

  const flow: Flow = {
    isLoaded: false,
    isRefused: false,
    admit({ taskId, flowKey }, nowMs) {
      if (flowKey === null || limits === null) return true;
      const key = keyOf(flowKey);
      const isNext = limits.ordered && key.holder === taskId;
      const mayGo = isNext || (!key.isParked && !isHeld(key, limits));
      if (mayGo && roomOf(key, limits, nowMs) >= 1) {
        if (key.bucket !== null) takeTokens(key.bucket, 1, nowMs);
        begin(key, limits, taskId);
        return true;
      }
      setParked(key, true);
      key.hasNews = true;
      noteBlocked(flowKey);
      return false;
    },
    force({ taskId, flowKey }) {
      if (flowKey === null || limits === null) return;
      const key = keyOf(flowKey);
      key.calls.add(taskId);
      if (key.holder === null || key.holder === taskId) hold(key, limits, taskId);
      callable.delete(flowKey);
    },
    isHolder: ({ taskId, flowKey }) => keys.get(flowKey ?? '')?.holder === taskId,
    noteParked(task, nowMs) {
      if (task.flowKey === null) return;
      const key = keyOf(task.flowKey);
      setParked(key, true);
      key.hasNews = true;
      if (key.holder === task.taskId) key.isHolderParked = true;
      refresh(task.flowKey, key, nowMs);
    },
    takeCallable(limit, nowMs) {
      wakeWaiting(nowMs);
      const calls: FlowCall[] = [];
      let left = limit;
      for (const name of callable) {
        if (left < 1) break;
        const key = keys.get(name)!;
        const count = Math.min(roomOf(key, limits, nowMs), left);
        callable.delete(name);
        if (count < 1) continue;
        if (key.bucket !== null) takeTokens(key.bucket, count, nowMs);
        key.reserved += count;
        key.isCalling = true;
        key.hasNews = false;
        left -= count;
        calls.push({ flowKey: name, limit: count });
      }
      return calls;
    },
    answer(calls, tasks, nowMs) {
      const brought = tasks === null ? null : Map.groupBy(tasks, (task) => task.flowKey);
      for (const call of calls) {
        answerCall(call, brought && (brought.get(call.flowKey) ?? []), nowMs);
      }
    },
    undo(task, nowMs) {
      withKey(task, nowMs, (key) => {
        if (!key.calls.delete(task.taskId)) return;
        if (key.bucket !== null) returnTokens(key.bucket, 1, nowMs);
        key.heldSinceMs = nowMs;
      });
    },
    finish(task, kind, nowMs) {
      withKey(task, nowMs, (key) => {
        key.calls.delete(task.taskId);
        foreign.delete(task.taskId);
        if (key.holder !== task.taskId) return;
        key.heldSinceMs = nowMs;
        if (kind === 'succeed' || kind === 'fail') release(key);
      });
    },
    hasCallable: () => callable.size > 0 && !flow.isRefused,
    secondsUntilCallable(nowMs) {
      wakeWaiting(nowMs);
      if (flow.isRefused) return Number.POSITIVE_INFINITY;
      return callable.size > 0 ? 0 : Math.max(0, (waiting.nextMs() - nowMs) / 1000);
    },
    change(changed, nowMs) {
      const isOrderedNow = changed?.ordered === true && limits?.ordered !== true;
      limits = changed;
      if (isOrderedNow) flow.isLoaded = false;
      const rate = rateOf(limits);
      for (const [name, key] of keys) {
        if (rate === null) key.bucket = null;
        else if (key.bucket === null) key.bucket = createKeyBucket(limits, emptyAtMs);
        else changeRate(key.bucket, rate, nowMs);
        if (limits?.ordered !== true) release(key);
        else if (key.holder === null) for (const taskId of key.calls) hold(key, limits, taskId);
        refresh(name, key, nowMs);
      }
    },
    load({ parkedKeys, held, leases }, nowMs) {
      for (const { flowKey, taskId } of leases) {
        foreign.set(taskId, flowKey);
        begin(keyOf(flowKey), limits, taskId);
      }
      for (const { flowKey, taskId, isParked } of limits?.ordered ? held : []) {
        const key = keyOf(flowKey);
        if (key.holder !== null) continue;
        hold(key, limits, taskId);
        key.isHolderParked = isParked;
        key.heldSinceMs = nowMs;
      }
      for (const name of parkedKeys) {
        const key = keyOf(name);
        setParked(key, true);
        key.hasNews = true;
        refresh(name, key, nowMs);
      }
      flow.isLoaded = true;
    },
    doubtful(sinceMs, nowMs) {
      const holders: string[] = [];
      for (const key of keys.values()) {
        if (holders.length >= DOUBTFUL_BATCH) break;
        if (key.holder === null || key.calls.has(key.holder) || key.heldSinceMs > sinceMs) continue;
        key.heldSinceMs = nowMs;
        holders.push(key.holder);
      }
      return { holders, foreign: [...foreign.keys()] };
    },
    forget(gone, nowMs) {
      for (const taskId of gone.foreign) {
        const flowKey = foreign.get(taskId);
        if (flowKey === undefined) continue;
        foreign.delete(taskId);
        withKey({ taskId, flowKey }, nowMs, (key) => key.calls.delete(taskId));
      }
      if (gone.holders.size === 0) return;
      for (const [name, key] of keys) {
        if (key.holder === null || key.calls.has(key.holder) || !gone.holders.has(key.holder))
          continue;
        release(key);
        refresh(name, key, nowMs);
      }
    },
    sweep(nowMs) {
      for (const [name, key] of keys) if (isIdle(key, nowMs)) keys.delete(name);
      return limits === null && keys.size === 0;
    },
    parkedKeys: () => parked,
    blockedKeys: () => [...blocked].filter((name) => keys.get(name)?.isParked),
  };
  return flow;
}
