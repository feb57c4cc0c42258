import { describe, expect, test } from 'vitest';
import { createQueueState, type QueueState } from '../../src/dispatch/queue-state.ts';
import { createSlotSharing } from '../../src/dispatch/slot-sharing.ts';
import { DEFAULT_QUEUE_SETTINGS } from '../../src/model.ts';
import { queueRecord } from '../support/queue-record.ts';

function queue(id: number, weight: number, maxConcurrentDispatches = 1_000): QueueState {
  const limits = { maxConcurrentDispatches, maxBurstSize: 10_000 };
  const rateLimits = { ...DEFAULT_QUEUE_SETTINGS.rateLimits, ...limits };
  const settings = { ...DEFAULT_QUEUE_SETTINGS, weight, rateLimits };
  return createQueueState(queueRecord({ id, settings }), 0);
}

type Sharing = ReturnType<typeof createSlotSharing>;

/** Slots by queue, over many rounds of so many. */
function rounds(sharing: Sharing, states: QueueState[], count: number, slots: number) {
  const got = new Map(states.map((state) => [state, 0]));
  for (let round = 0; round < count; round++) {
    for (const { state, slots: given } of sharing.share(states, slots, 0)) {
      got.set(state, got.get(state)! + given);
    }
  }
  return states.map((state) => got.get(state)!);
}

describe('slot sharing', () => {
  test('weighted: weights 2 and 1 get two thirds and one third, even one slot at a time', () => {
    const states = [queue(1, 2), queue(2, 1)];
    const sharing = createSlotSharing('weighted');
    expect(rounds(sharing, states, 300, 1)).toEqual([200, 100]);
    expect(rounds(sharing, states, 10, 30)).toEqual([200, 100]);
  });

  test('weighted: what a queue at its concurrency cannot use goes to the others', () => {
    const states = [queue(1, 100, 3), queue(2, 1)];
    expect(rounds(createSlotSharing('weighted'), states, 1, 10)).toEqual([3, 7]);
  });

  test('strict-priority: the higher weight has all it wants before the lower has anything', () => {
    const states = [queue(1, 1), queue(2, 5, 6)];
    const sharing = createSlotSharing('strict-priority');
    expect(rounds(sharing, states, 10, 4)).toEqual([0, 40]);
    expect(rounds(sharing, states, 1, 10)).toEqual([4, 6]);
  });

  test('strict-priority: queues of one weight share evenly', () => {
    const states = [queue(1, 5), queue(2, 5)];
    expect(rounds(createSlotSharing('strict-priority'), states, 100, 1)).toEqual([50, 50]);
  });

  test('calls in flight of the owner before leave no place to others', () => {
    const state = queue(1, 1, 5);
    state.foreign = 3;
    state.inFlight = 1;
    expect(rounds(createSlotSharing('weighted'), [state], 1, 10)).toEqual([1]);
    state.inFlight = 4;
    expect(rounds(createSlotSharing('weighted'), [state], 1, 10)).toEqual([0]);
  });

  test('a queue that is excused for a while loses nothing to those that go on', () => {
    const states = [queue(1, 2), queue(2, 1)];
    const sharing = createSlotSharing('weighted');
    const got = [0, 0];
    for (let round = 0; round < 3_000; round++) {
      for (const { state, slots } of sharing.share(states, 1, 0)) {
        if (state === states[0] && round % 5 !== 0) sharing.excuse(state);
        else got[states.indexOf(state)]! += slots;
      }
    }
    expect(got[0]! / (got[0]! + got[1]!)).toBeCloseTo(2 / 3, 1);
  });
});
