import { describe, expect, test } from 'vitest';
import { createFlow, type Flow } from '../../src/dispatch/flow.ts';
import type { FlowTask } from '../../src/dispatch/flow-types.ts';
import { DEFAULT_FLOW_LIMITS } from '../../src/model.ts';
import type { FlowLimits } from '../../src/protocol/resources.ts';

const LONG_AGO_MS = -1e12;
/** Tasks are claimed so long before their key's token is there. */
const AHEAD_SECONDS = 0.025;

const limits = (fields: Partial<FlowLimits>): FlowLimits => ({ ...DEFAULT_FLOW_LIMITS, ...fields });

function open(fields: Partial<FlowLimits>, emptyAtMs = LONG_AGO_MS): Flow {
  const flow = createFlow(limits(fields), { othersMs: emptyAtMs });
  flow.load({ parkedKeys: [], held: [], leases: [] }, 0);
  return flow;
}

let number = 0;
const task = (flowKey: string | null = 'a'): FlowTask => ({ taskId: `t${number++}`, flowKey });

/** Admits a task, whose call begins at once, or parks it. */
function offer(flow: Flow, one: FlowTask, nowMs = 0): boolean {
  const goes = flow.admit(one, nowMs);
  if (goes) flow.begin(one, nowMs);
  else flow.noteParked(one, nowMs);
  return goes;
}

describe('createFlow()', () => {
  test('lets a key go up to its concurrency, parks what is beyond, and calls it when there is room', () => {
    const flow = open({ maxConcurrentDispatches: 2 });
    const [first, second, third] = [task(), task(), task()];
    expect([first, second, third].map((one) => offer(flow, one))).toEqual([true, true, false]);
    expect(offer(flow, task('b'))).toBe(true);
    expect(flow.takeCallable(10, 0)).toEqual([]);
    flow.finish(first, 'succeed', 0);
    expect(flow.takeCallable(10, 0)).toEqual([{ flowKey: 'a', limit: 1 }]);
    flow.answer([{ flowKey: 'a', limit: 1 }], [third], 0);
    expect(flow.takeCallable(10, 0)).toEqual([]);
  });

  test('parks behind what is parked, until the key has nothing parked any more', () => {
    const flow = open({ maxConcurrentDispatches: 1 });
    const [first, second] = [task(), task()];
    offer(flow, first);
    offer(flow, second);
    flow.finish(first, 'retry', 0);
    expect(offer(flow, task())).toBe(false);
    const calls = flow.takeCallable(10, 0);
    flow.answer(calls, [second], 0);
    flow.finish(second, 'succeed', 0);
    const more = flow.takeCallable(10, 0);
    flow.answer(more, [], 0);
    expect(flow.parkedKeys()).toBe(0);
    expect(offer(flow, task())).toBe(true);
  });

  test('a key keeps what was parked while a claim of it was under way', () => {
    const flow = open({ maxConcurrentDispatches: 1 });
    const first = task();
    offer(flow, first);
    offer(flow, task());
    flow.finish(first, 'succeed', 0);
    const calls = flow.takeCallable(10, 0);
    flow.noteParked(task(), 0);
    flow.answer(calls, [], 0);
    expect(flow.parkedKeys()).toBe(1);
    expect(flow.takeCallable(10, 0)).toEqual([{ flowKey: 'a', limit: 1 }]);
  });

  test('a claim of which nothing is known takes neither tokens nor places', () => {
    const flow = open({
      maxConcurrentDispatches: 3,
      maxDispatchesPerSecond: 0.001,
      maxBurstSize: 3,
    });
    flow.noteParked(task(), 0);
    for (let round = 0; round < 5; round += 1) {
      const calls = flow.takeCallable(10, 0);
      expect(calls).toEqual([{ flowKey: 'a', limit: 3 }]);
      flow.answer(calls, null, 0);
    }
  });

  test('says when the next parked key gets a token', () => {
    const flow = open({ maxDispatchesPerSecond: 2 });
    offer(flow, task());
    expect(flow.secondsUntilCallable(0)).toBe(Number.POSITIVE_INFINITY);
    offer(flow, task());
    expect(flow.hasCallable()).toBe(false);
    expect(flow.secondsUntilCallable(100)).toBeCloseTo(0.4 - AHEAD_SECONDS);
    expect(flow.secondsUntilCallable(500)).toBe(0);
    expect(flow.hasCallable()).toBe(true);
  });

  test('an ordered key is held by a task that waits for its retry or next step, until it ends', () => {
    const flow = open({ ordered: true });
    const [first, second] = [task(), task()];
    offer(flow, first);
    offer(flow, second);
    for (const kind of ['retry', 'continue', 'retry'] as const) {
      flow.finish(first, kind, 0);
      expect(flow.takeCallable(10, 0)).toEqual([]);
      expect(flow.admit(first, 0)).toBe(true);
    }
    expect(offer(flow, task('other'))).toBe(true);
    flow.finish(first, 'fail', 0);
    expect(flow.takeCallable(10, 0)).toEqual([{ flowKey: 'a', limit: 1 }]);
  });

  test('a holder that lacks a token is parked and called before the others', () => {
    const flow = open({ ordered: true, maxDispatchesPerSecond: 1 });
    const [first, second] = [task(), task()];
    offer(flow, first);
    offer(flow, second);
    flow.finish(first, 'retry', 0);
    expect(flow.secondsUntilCallable(2000)).toBe(Number.POSITIVE_INFINITY);
    expect(offer(flow, first, 500)).toBe(false);
    expect(flow.isHolder(first)).toBe(true);
    expect(flow.secondsUntilCallable(500)).toBeCloseTo(0.5 - AHEAD_SECONDS);
    expect(flow.secondsUntilCallable(1000)).toBe(0);
    const calls = flow.takeCallable(10, 1000);
    flow.answer(calls, [first], 1000);
    flow.finish(first, 'succeed', 3000);
    expect(flow.takeCallable(10, 3000)).toEqual([{ flowKey: 'a', limit: 1 }]);
  });

  test('a holder that has ended elsewhere, and a foreign call that is over, are doubted and let go', () => {
    const flow = createFlow(limits({ ordered: true }), { othersMs: LONG_AGO_MS });
    const found = {
      held: [{ flowKey: 'a', taskId: 'x', isParked: false }],
      parkedKeys: ['a', 'b'],
    };
    flow.load({ ...found, leases: [{ flowKey: 'b', taskId: 'y' }] }, 0);
    expect(flow.takeCallable(10, 0)).toEqual([]);
    expect(flow.doubtful(5_000)).toEqual({ holders: [], foreign: ['y'] });
    flow.doubtAll(5_000);
    expect(flow.doubtful(5_000)).toEqual({ holders: ['x'], foreign: ['y'] });
    flow.forget({ holders: ['x'], foreign: ['y'], parked: [] }, 5_000);
    expect(flow.takeCallable(10, 5_000)).toEqual([{ flowKey: 'a', limit: 1 }]);
    // The task of the foreign call may wait for its retry: it holds the key until that is known.
    expect(flow.doubtful(10_000)).toEqual({ holders: ['y'], foreign: [] });
    flow.forget({ holders: ['y'], foreign: [], parked: [] }, 10_000);
    expect(flow.takeCallable(10, 10_000)).toEqual([{ flowKey: 'b', limit: 1 }]);
  });

  test('a foreign call that was given back and parked is called from there, before all others', () => {
    const flow = createFlow(limits({ ordered: true }), { othersMs: LONG_AGO_MS });
    flow.load({ held: [], parkedKeys: ['a'], leases: [{ flowKey: 'a', taskId: 'x' }] }, 0);
    flow.forget({ holders: [], foreign: ['x'], parked: ['x'] }, 5_000);
    const calls = flow.takeCallable(10, 5_000);
    expect(calls).toEqual([{ flowKey: 'a', limit: 1 }]);
    flow.answer(calls, [{ taskId: 'x', flowKey: 'a' }], 5_000);
    // In hand by now: what was read before that says nothing of it any more.
    flow.forget({ holders: [], foreign: ['x'], parked: ['x'] }, 5_000);
    expect(flow.takeCallable(10, 5_000)).toEqual([]);
  });

  test('a key is free at once when its holder ended while it waited, but not during its call', () => {
    const flow = open({ ordered: true });
    const [first, second] = [task(), task()];
    offer(flow, first);
    offer(flow, second);
    flow.noteEnded(first, 0);
    expect(flow.takeCallable(10, 0)).toEqual([]);
    flow.finish(first, 'retry', 0);
    flow.noteEnded(second, 0);
    expect(flow.takeCallable(10, 0)).toEqual([]);
    flow.noteEnded(first, 0);
    expect(flow.takeCallable(10, 0)).toEqual([{ flowKey: 'a', limit: 1 }]);
  });

  test('a holder that is put off is called first, when its delay is over', () => {
    const flow = open({ ordered: true });
    const [first, second] = [task(), task()];
    offer(flow, first);
    offer(flow, second);
    flow.undo(first, 0);
    flow.noteParked(first, 0, 30);
    expect(flow.takeCallable(10, 29_999)).toEqual([]);
    expect(flow.secondsUntilCallable(29_999)).toBeCloseTo(0.001);
    const calls = flow.takeCallable(10, 30_000);
    flow.answer(calls, [first], 30_000);
    flow.finish(first, 'succeed', 30_000);
    expect(flow.takeCallable(10, 30_000)).toEqual([{ flowKey: 'a', limit: 1 }]);
  });

  test('a call takes its token when it begins, however late its claim was answered', () => {
    const flow = open({ maxDispatchesPerSecond: 1, maxBurstSize: 2 });
    const [first, second, third] = [task(), task(), task()];
    expect([first, second].map((one) => flow.admit(one, 0))).toEqual([true, true]);
    expect(flow.admit(third, 5_000)).toBe(false);
    flow.noteParked(third, 5_000);
    expect(flow.secondsUntilCallable(5_000)).toBe(Number.POSITIVE_INFINITY);
    for (const one of [first, second]) {
      expect(flow.secondsUntilBegin(one, 5_000)).toBe(0);
      flow.begin(one, 5_000);
    }
    expect(flow.secondsUntilCallable(5_000)).toBeCloseTo(1 - AHEAD_SECONDS);
    const calls = flow.takeCallable(10, 5_990);
    flow.answer(calls, [third], 5_990);
    expect(flow.secondsUntilBegin(third, 5_990)).toBeCloseTo(0.01);
  });

  test('shares what may be called between the keys that have room', () => {
    const flow = open({ maxConcurrentDispatches: 100 });
    for (const flowKey of ['a', 'b', 'c']) flow.noteParked(task(flowKey), 0);
    const calls = ['a', 'b', 'c'].map((flowKey) => ({ flowKey, limit: 3 }));
    expect(flow.takeCallable(10, 0)).toEqual(calls);
  });

  test('leaves to the next owner how long each bucket has been filling', () => {
    const flow = open({ maxDispatchesPerSecond: 0.1, maxBurstSize: 2 });
    offer(flow, task('half'));
    for (const one of [task('spent'), task('spent')]) offer(flow, one);
    flow.admit(task('promised'), 0);
    const { keys, others } = flow.filling(5_000);
    expect(keys).toEqual({ half: 15, spent: 5, promised: 10 });
    expect(others).toBeGreaterThan(1e6);
    for (let place = 0; place < 10_001; place += 1) offer(flow, task(`key ${place}`), 5_000);
    expect(flow.filling(5_000)).toEqual({ keys: {}, others: 0 });
  });

  test('buckets are empty at a take-over', () => {
    const flow = open({ maxDispatchesPerSecond: 1, maxBurstSize: 5 }, 0);
    expect(flow.admit(task('a'), 900)).toBe(false);
    expect(offer(flow, task('b'), 1000)).toBe(true);
    expect(offer(flow, task('b'), 1000)).toBe(false);
  });

  test('changed limits are in force at once, and none at all call everything', () => {
    const flow = open({ maxConcurrentDispatches: 1 });
    offer(flow, task());
    offer(flow, task());
    flow.change(limits({ maxConcurrentDispatches: 3 }), 0);
    expect(flow.takeCallable(10, 0)).toEqual([{ flowKey: 'a', limit: 2 }]);
    const off = open({ maxConcurrentDispatches: 1 });
    const all = [task(), task(), task()];
    for (const one of all) offer(off, one);
    off.change(null, 0);
    expect(offer(off, task())).toBe(true);
    const calls = off.takeCallable(100, 0);
    expect(calls).toEqual([{ flowKey: 'a', limit: 100 }]);
    off.answer(calls, all.slice(1), 0);
    expect(off.sweep(0)).toBe(false);
    for (const one of all) off.finish(one, 'succeed', 0);
    expect(off.sweep(0)).toBe(true);
  });

  test('once a flow becomes ordered, what the store knows is read first', () => {
    const flow = open({ maxConcurrentDispatches: 5 });
    flow.change(limits({ ordered: true }), 0);
    expect(flow.isLoaded).toBe(false);
  });

  test('a task that is told to run now counts, but nothing stands in its way', () => {
    const flow = open({ maxConcurrentDispatches: 1 });
    const forced = task();
    offer(flow, task('b'));
    flow.force(forced, 0);
    expect(offer(flow, task())).toBe(false);
    flow.finish(forced, 'succeed', 0);
    expect(flow.takeCallable(10, 0)).toEqual([{ flowKey: 'a', limit: 1 }]);
  });
});
