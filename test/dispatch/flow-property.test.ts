import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { createFlow } from '../../src/dispatch/flow.ts';
import type { FlowTask } from '../../src/dispatch/flow-key.ts';
import { DEFAULT_FLOW_LIMITS } from '../../src/model.ts';
import type { FlowLimits } from '../../src/protocol/resources.ts';

let number = 0;
const task = (flowKey: string): FlowTask => ({ taskId: `t${number++}`, flowKey });

interface Action {
  kind: 'enqueue' | 'finish' | 'retry' | 'undo' | 'wait' | 'fail claim';
  key: number;
  pick: number;
}

const action: fc.Arbitrary<Action> = fc.record({
  kind: fc.constantFrom(
    'enqueue',
    'enqueue',
    'finish',
    'finish',
    'retry',
    'undo',
    'wait',
    'fail claim',
  ),
  key: fc.nat(2),
  pick: fc.nat(20),
});

/** A queue in memory: what is ready and parked by key, what is in flight, and what was started when. */
function createModel(fields: Partial<FlowLimits>) {
  const flow = createFlow({ ...DEFAULT_FLOW_LIMITS, ...fields }, -1e12);
  flow.load({ parkedKeys: [], held: [], leases: [] }, 0);
  const parked = new Map<string, FlowTask[]>();
  const inFlight: FlowTask[] = [];
  const waiting: FlowTask[] = [];
  const starts: { flowKey: string; taskId: string; atMs: number }[] = [];
  let nowMs = 0;

  const start = (one: FlowTask) => {
    inFlight.push(one);
    starts.push({ flowKey: one.flowKey!, taskId: one.taskId, atMs: nowMs });
  };
  const park = (one: FlowTask) => {
    const line = parked.get(one.flowKey!) ?? [];
    parked.set(one.flowKey!, flow.isHolder(one) ? [one, ...line] : [...line, one]);
    flow.noteParked(one, nowMs);
  };
  const claim = (one: FlowTask) => (flow.admit(one, nowMs) ? start(one) : park(one));
  const call = (limit: number, isLost = false) => {
    flow.secondsUntilCallable(nowMs);
    const calls = flow.takeCallable(limit, nowMs);
    if (isLost) return flow.answer(calls, null, nowMs);
    const taken = calls.flatMap((c) => parked.get(c.flowKey)?.splice(0, c.limit) ?? []);
    flow.answer(calls, taken, nowMs);
    for (const one of taken) start(one);
  };
  const end = (pick: number) => inFlight.splice(pick % Math.max(1, inFlight.length), 1)[0];

  return {
    flow,
    starts,
    inFlight,
    take({ kind, key, pick }: Action) {
      if (kind === 'enqueue') return claim(task(`key ${key}`));
      if (kind === 'wait') {
        nowMs += pick * 100;
        for (const one of waiting.splice(0)) claim(one);
        return call(3);
      }
      if (kind === 'fail claim') return call(3, true);
      const one = end(pick);
      if (one === undefined) return;
      if (kind === 'undo') {
        flow.undo(one, nowMs);
        const place = starts.findLastIndex(({ taskId }) => taskId === one.taskId);
        starts.splice(place, 1);
        // It comes back to the place it had, which is before everything that is parked.
        parked.set(one.flowKey!, [one, ...(parked.get(one.flowKey!) ?? [])]);
        return flow.noteParked(one, nowMs);
      }
      flow.finish(one, kind === 'retry' ? 'retry' : 'succeed', nowMs);
      if (kind === 'retry') waiting.push(one);
      call(2);
    },
    /** Lets everything end; returns the number of rounds it took. */
    drain() {
      for (let round = 0; round < 1_000; round += 1) {
        nowMs += 1_000;
        for (const one of waiting.splice(0)) claim(one);
        for (const one of inFlight.splice(0)) flow.finish(one, 'succeed', nowMs);
        call(3);
        if (inFlight.length + waiting.length + [...parked.values()].flat().length === 0)
          return round;
      }
      throw new Error('Something starved');
    },
    sweepAt: (laterMs: number) => flow.sweep(nowMs + laterMs),
  };
}

describe('a flow under any history', () => {
  const history = fc.array(action, { maxLength: 120 });

  test('keeps each key within its concurrency, starves none and forgets all in the end', () => {
    fc.assert(
      fc.property(history, fc.integer({ min: 1, max: 3 }), (steps, most) => {
        const model = createModel({ maxConcurrentDispatches: most });
        for (const step of steps) {
          model.take(step);
          const ofKey = Map.groupBy(model.inFlight, ({ flowKey }) => flowKey);
          for (const tasks of ofKey.values()) expect(tasks.length).toBeLessThanOrEqual(most);
        }
        model.drain();
        expect(model.flow.parkedKeys()).toBe(0);
        model.flow.change(null, 0);
        expect(model.sweepAt(0)).toBe(true);
      }),
    );
  });

  test('keeps each key within its rate', () => {
    const rates = fc.record({
      rate: fc.constantFrom(0.5, 1, 3),
      burst: fc.integer({ min: 1, max: 4 }),
    });
    fc.assert(
      fc.property(history, rates, (steps, { rate, burst }) => {
        const model = createModel({ maxDispatchesPerSecond: rate, maxBurstSize: burst });
        for (const step of steps) model.take(step);
        model.drain();
        for (const starts of Map.groupBy(model.starts, ({ flowKey }) => flowKey).values()) {
          for (const [first, { atMs: fromMs }] of starts.entries()) {
            for (const [place, { atMs: toMs }] of starts.slice(first).entries()) {
              const allowed = burst + (rate * (toMs - fromMs)) / 1000 + 1e-6;
              expect(place + 1).toBeLessThanOrEqual(allowed);
            }
          }
        }
      }),
      { numRuns: 50 },
    );
  });

  test('an ordered flow begins the next of a key only when the one before has ended', () => {
    const rates = fc.constantFrom(null, 1);
    fc.assert(
      fc.property(history, rates, (steps, maxDispatchesPerSecond) => {
        const model = createModel({ ordered: true, maxDispatchesPerSecond });
        for (const step of steps) model.take(step);
        model.drain();
        for (const starts of Map.groupBy(model.starts, ({ flowKey }) => flowKey).values()) {
          const ids = starts.map(({ taskId }) => Number(taskId.slice(1)));
          expect(ids).toEqual(ids.toSorted((one, other) => one - other));
        }
      }),
    );
  });
});
