import type { FlowLimits } from '../protocol/resources.ts';
import { createFlowDoubts } from './flow-doubts.ts';
import {
  beginCall,
  changeKey,
  createFlowKey,
  type FlowKey,
  fillingSeconds,
  holdKey,
  isHeld,
  isIdle,
  letGo,
  releaseKey,
  roomOf,
  secondsUntilBegin,
  secondsUntilRoom,
  takeInHand,
  takeOutside,
} from './flow-key.ts';
import { createFlowLines } from './flow-lines.ts';
import type { Flow, FlowCall, FlowTask } from './flow-types.ts';

export type { Flow } from './flow-types.ts';

const MOST_BLOCKED = 500;
/** More keys than this are not handed over one by one. */
const MOST_HANDED_OVER = 10_000;

/** What an owner before us left of keys: since when each was filling from empty. Unnamed ones: `othersMs`. */
export interface EmptySince {
  othersMs: number;
  keysMs?: ReadonlyMap<string, number>;
}

/**
 * The limits of one queue's flow keys, in memory of the one process that owns the queue. A key at its
 * limit is parked: what comes later is parked behind, and its tasks are called from there as it has
 * room, so a key that waits costs the others nothing. In an ordered flow a task that began holds its
 * key until it ends.
 *
 * A key that was never seen has what its rate has brought since `emptySince`, and so one whose bucket is
 * full may be forgotten.
 */
export function createFlow(first: FlowLimits | null, emptySince: EmptySince): Flow {
  const keys = new Map<string, FlowKey>();
  const lines = createFlowLines();
  const doubts = createFlowDoubts();
  const blocked = new Set<string>();
  let limits = first;
  let parked = 0;

  for (const [name, emptyAtMs] of emptySince.keysMs ?? []) {
    keys.set(name, createFlowKey(name, limits, emptyAtMs));
  }

  function keyOf(name: string): FlowKey {
    let key = keys.get(name);
    if (key === undefined) {
      key = createFlowKey(name, limits, emptySince.othersMs);
      keys.set(name, key);
    }
    return key;
  }

  /** What is not a key's business, or not known any more, changes nothing. */
  function withKey({ flowKey }: FlowTask, nowMs: number, change: (key: FlowKey) => void): void {
    const key = flowKey === null ? undefined : keys.get(flowKey);
    if (key === undefined) return;
    change(key);
    refresh(key, nowMs);
  }

  /** After every change of a key: when may it be called, and is it to be forgotten? */
  function refresh(key: FlowKey, nowMs: number): void {
    lines.place(key, secondsUntilRoom(key, limits, nowMs), nowMs);
    if (isIdle(key, nowMs)) keys.delete(key.name);
  }

  function setParked(key: FlowKey, isParked: boolean): void {
    if (key.isParked !== isParked) parked += isParked ? 1 : -1;
    key.isParked = isParked;
    if (isParked) key.hasNews = true;
  }

  function take(key: FlowKey, taskId: string): void {
    takeInHand(key, limits, taskId);
    doubts.dropHolder(taskId);
    doubts.dropForeign(taskId);
  }

  function release(key: FlowKey): void {
    if (key.holder !== null) doubts.dropHolder(key.holder);
    releaseKey(key);
  }

  /** It waits for its retry, its next step or its turn, unless it was cancelled. */
  function doubt(key: FlowKey, taskId: string, when: { isFresh: boolean; nowMs: number }): void {
    if (key.holder === taskId) doubts.addHolder(taskId, key.name, when);
  }

  function noteBlocked(name: string): void {
    blocked.delete(name);
    blocked.add(name);
    const [oldest] = blocked;
    if (blocked.size > MOST_BLOCKED) blocked.delete(oldest!);
  }

  function placeDue(nowMs: number): void {
    for (const name of lines.takeDue(nowMs))
      withKey({ taskId: '', flowKey: name }, nowMs, () => {});
  }

  function answerCall(call: FlowCall, brought: readonly FlowTask[] | null, nowMs: number): void {
    const key = keyOf(call.flowKey);
    key.asked = 0;
    if (brought !== null && brought.length < call.limit) {
      if (key.isHolderParked && brought.length === 0) release(key);
      if (!key.hasNews) setParked(key, false);
    }
    for (const { taskId } of brought ?? []) take(key, taskId);
    refresh(key, nowMs);
  }

  /** An owner before us has put it there after we read what there was. */
  function noteFound(taskId: string, nowMs: number): void {
    const flowKey = doubts.keyOf(taskId);
    if (flowKey === undefined) return;
    const { holder, isHolderParked } = keyOf(flowKey);
    if (holder !== taskId || !isHolderParked) flow.noteParked({ taskId, flowKey }, nowMs);
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
        take(key, taskId);
        return true;
      }
      setParked(key, true);
      noteBlocked(flowKey);
      return false;
    },
    force({ taskId, flowKey }, nowMs) {
      if (flowKey === null || limits === null) return;
      const key = keyOf(flowKey);
      takeOutside(key, limits, taskId);
      refresh(key, nowMs);
    },
    noteParked({ taskId, flowKey }, nowMs, delaySeconds = 0) {
      if (flowKey === null) return;
      const key = keyOf(flowKey);
      setParked(key, true);
      if (key.holder === taskId) {
        key.isHolderParked = true;
        key.heldUntilMs = nowMs + delaySeconds * 1000;
      }
      refresh(key, nowMs);
    },
    takeCallable(limit, nowMs) {
      placeDue(nowMs);
      const calls: FlowCall[] = [];
      // Nobody knows how many tasks are parked of a key: what it does not use, others could have.
      const share = Math.max(1, Math.floor(limit / lines.callable()));
      for (let left = limit; left >= 1; ) {
        const name = lines.takeFirst();
        if (name === undefined) break;
        const key = keys.get(name)!;
        key.asked = Math.min(roomOf(key, limits, nowMs), share, left);
        key.hasNews = false;
        left -= key.asked;
        if (key.asked > 0) calls.push({ flowKey: name, limit: key.asked });
      }
      return calls;
    },
    answer(calls, tasks, nowMs) {
      const brought = tasks === null ? null : Map.groupBy(tasks, (task) => task.flowKey);
      for (const call of calls) {
        answerCall(call, brought && (brought.get(call.flowKey) ?? []), nowMs);
      }
    },
    hasCallable: () => lines.callable() > 0 && !flow.isRefused,
    secondsUntilCallable(nowMs) {
      placeDue(nowMs);
      if (flow.isRefused) return Number.POSITIVE_INFINITY;
      return lines.callable() > 0 ? 0 : lines.secondsUntilDue(nowMs);
    },
    parkedKeys: () => parked,
    blockedKeys: () => [...blocked].filter((name) => keys.get(name)?.isParked),

    secondsUntilBegin({ taskId, flowKey }, nowMs) {
      const key = keys.get(flowKey ?? '');
      return key === undefined ? 0 : secondsUntilBegin(key, taskId, nowMs);
    },
    begin(task, nowMs) {
      withKey(task, nowMs, (key) => beginCall(key, task.taskId, nowMs));
    },
    isHolder: ({ taskId, flowKey }) => keys.get(flowKey ?? '')?.holder === taskId,
    undo(task, nowMs) {
      withKey(task, nowMs, (key) => {
        letGo(key, task.taskId, { wasCalled: false, nowMs });
        doubt(key, task.taskId, { isFresh: false, nowMs });
      });
    },
    finish(task, kind, nowMs) {
      withKey(task, nowMs, (key) => {
        letGo(key, task.taskId, { wasCalled: true, nowMs });
        if (key.holder !== task.taskId) return;
        if (kind === 'succeed' || kind === 'fail') release(key);
        else doubt(key, task.taskId, { isFresh: true, nowMs });
      });
    },

    change(changed, nowMs) {
      const isOrderedNow = changed?.ordered === true && limits?.ordered !== true;
      limits = changed;
      if (isOrderedNow) flow.isLoaded = false;
      for (const key of keys.values()) {
        changeKey(key, limits, { emptyAtMs: emptySince.othersMs, nowMs });
        refresh(key, nowMs);
      }
    },
    load({ parkedKeys, held, leases }, nowMs) {
      for (const { flowKey, taskId } of leases) {
        doubts.addForeign(taskId, flowKey);
        takeOutside(keyOf(flowKey), limits, taskId);
      }
      for (const { flowKey, taskId, isParked } of limits?.ordered ? held : []) {
        const key = keyOf(flowKey);
        if (key.holder !== null) continue;
        holdKey(key, limits, taskId);
        key.isHolderParked = isParked;
        doubt(key, taskId, { isFresh: false, nowMs });
      }
      for (const name of parkedKeys) {
        setParked(keyOf(name), true);
        refresh(keyOf(name), nowMs);
      }
      flow.isLoaded = true;
    },
    doubtAll: doubts.askAll,
    doubtful: doubts.take,
    forget(gone, nowMs) {
      for (const taskId of gone.parked) noteFound(taskId, nowMs);
      for (const taskId of gone.foreign) {
        const flowKey = doubts.dropForeign(taskId) ?? null;
        withKey({ taskId, flowKey }, nowMs, (key) => {
          letGo(key, taskId, { wasCalled: true, nowMs });
          doubt(key, taskId, { isFresh: true, nowMs });
        });
      }
      for (const taskId of gone.holders) {
        flow.noteEnded({ taskId, flowKey: doubts.dropHolder(taskId) ?? null }, nowMs);
      }
    },
    noteEnded(task, nowMs) {
      withKey(task, nowMs, (key) => {
        // A call in flight that was to be cancelled ends by itself, and is doubted then.
        if (key.holder === task.taskId && !key.calls.has(task.taskId)) release(key);
      });
    },
    sweep(nowMs) {
      for (const [name, key] of keys) if (isIdle(key, nowMs)) keys.delete(name);
      return limits === null && keys.size === 0;
    },
    filling(nowMs) {
      const others = (nowMs - emptySince.othersMs) / 1000;
      const named: [string, number][] = [];
      for (const [name, key] of keys) {
        const seconds = fillingSeconds(key, nowMs);
        if (Number.isFinite(seconds)) named.push([name, seconds]);
        if (named.length > MOST_HANDED_OVER) return { others: 0, keys: {} };
      }
      return { others, keys: Object.fromEntries(named) };
    },
  };
  return flow;
}
