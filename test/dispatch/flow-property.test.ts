import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import type { FlowLimits } from '../../src/protocol/resources.ts';
import { type Action, createFlowModel } from './flow-model.ts';

const action: fc.Arbitrary<Action> = fc.record({
  kind: fc.constantFrom(
    ...(['enqueue', 'enqueue', 'enqueue', 'begin', 'begin', 'finish', 'finish', 'retry'] as const),
    ...(['undo', 'postpone', 'wait', 'wait', 'fail claim', 'cancel', 'hand over'] as const),
  ),
  key: fc.nat(2),
  pick: fc.nat(20),
});

const history = fc.array(action, { maxLength: 120 });

const limits: fc.Arbitrary<Partial<FlowLimits>> = fc.record({
  maxDispatchesPerSecond: fc.constantFrom(null, 0.5, 1, 3, 200),
  maxBurstSize: fc.integer({ min: 1, max: 4 }),
  maxConcurrentDispatches: fc.constantFrom(null, 1, 2, 3),
  ordered: fc.boolean(),
});

function play(fields: Partial<FlowLimits>, steps: readonly Action[]) {
  const model = createFlowModel(fields);
  for (const step of steps) {
    model.take(step);
    const most = fields.ordered ? 1 : (fields.maxConcurrentDispatches ?? Number.POSITIVE_INFINITY);
    for (const tasks of Map.groupBy(model.inHand(), ({ flowKey }) => flowKey).values()) {
      expect(tasks.length).toBeLessThanOrEqual(most);
    }
  }
  model.drain();
  return model;
}

describe('a flow under any history', () => {
  test('keeps each key within its concurrency, loses none and forgets all in the end', () => {
    fc.assert(
      fc.property(limits, history, (fields, steps) => {
        const model = play(fields, steps);
        expect(model.unfinished()).toEqual([]);
        expect(model.flow().parkedKeys()).toBe(0);
        model.flow().change(null, model.nowMs());
        expect(model.flow().sweep(model.nowMs())).toBe(true);
      }),
      { numRuns: 300 },
    );
  });

  test('no window of calls holds more than burst and rate allow, through hand-overs too', () => {
    fc.assert(
      fc.property(limits, history, (fields, steps) => {
        const { maxDispatchesPerSecond: rate, maxBurstSize: burst = 1 } = fields;
        if (rate == null) return;
        const { starts } = play(fields, steps);
        for (const ofKey of Map.groupBy(starts, ({ flowKey }) => flowKey).values()) {
          for (const [first, { atMs: fromMs }] of ofKey.entries()) {
            for (const [place, { atMs: toMs }] of ofKey.slice(first).entries()) {
              const allowed = burst + (rate * (toMs - fromMs)) / 1000 + 1e-6;
              expect(place + 1).toBeLessThanOrEqual(allowed);
            }
          }
        }
      }),
      { numRuns: 300 },
    );
  });

  test('a call that was claimed begins at the latest 25 ms later, as far as its key is concerned', () => {
    fc.assert(
      fc.property(limits, history, (fields, steps) => {
        expect(play(fields, steps).longestWaitSeconds()).toBeLessThanOrEqual(0.025 + 1e-9);
      }),
    );
  });

  test('an ordered flow begins the next of a key only when the one before has ended', () => {
    fc.assert(
      fc.property(limits, history, (fields, steps) => {
        const { starts } = play({ ...fields, ordered: true }, steps);
        for (const ofKey of Map.groupBy(starts, ({ flowKey }) => flowKey).values()) {
          const ids = ofKey.map(({ taskId }) => Number(taskId.slice(1)));
          expect(ids).toEqual(ids.toSorted((one, other) => one - other));
        }
      }),
      { numRuns: 300 },
    );
  });
});
