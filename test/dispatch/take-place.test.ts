import { describe, expect, test } from 'vitest';
import {
  createQueueState,
  noteReady,
  type QueueState,
  takePlace,
} from '../../src/dispatch/queue-state.ts';
import { DEFAULT_FLOW_LIMITS, DEFAULT_QUEUE_SETTINGS } from '../../src/model.ts';
import { availableTokens } from '../../src/policy/rate.ts';
import { queueRecord } from '../support/queue-record.ts';

/** A Wednesday, noon. */
const DATABASE_MS = Date.UTC(2026, 0, 7, 12);
const LIMITS = { maxConcurrentDispatches: 2, maxBurstSize: 3, maxDispatchesPerSecond: 1 };

const newState = (fields = {}) => createQueueState(queueRecord(fields, LIMITS), 0);
const withSettings = (settings: object) =>
  newState({ settings: { ...DEFAULT_QUEUE_SETTINGS, rateLimits: LIMITS, ...settings } });
const take = (state: QueueState, nowMs = 10) => takePlace(state, nowMs, DATABASE_MS);

describe('takePlace()', () => {
  test('takes a place and a token, as long as there are both', () => {
    const state = newState();
    expect([take(state), take(state), take(state)]).toEqual([true, true, false]);
    expect(state.inFlight).toBe(2);
    state.inFlight = 0;
    expect([take(state), take(state)]).toEqual([true, false]);
    expect(take(state, 1_010)).toBe(true);
  });

  test.each<[string, () => QueueState]>([
    ['something is ready', () => changed((state) => noteReady(state, 5, 1n))],
    ['a breaker holds it, though a probe is due', () => changed((s) => (s.heldUntilMs = 5))],
    ['a breaker holds it', () => changed((s) => (s.heldUntilMs = Number.POSITIVE_INFINITY))],
    ['calls of the owner before fill it', () => changed((state) => (state.foreign = 2))],
    ['another owns it by now', () => changed((state) => (state.isDropped = true))],
    ['it is paused', () => newState({ paused: true })],
    ['it is being purged', () => newState({ isPurging: true })],
    ['it has a flow', () => withSettings({ flow: DEFAULT_FLOW_LIMITS })],
    ['its windows are closed', () => withSettings({ activeWindows: [weekend] })],
  ])('takes nothing where %s', (_, make) => {
    const state = make();
    expect(take(state)).toBe(false);
    expect(state.inFlight).toBe(0);
    expect(availableTokens(state.bucket, 10)).toBe(3);
  });
});

const weekend = { days: ['sat', 'sun'], start: '00:00', end: '24:00', timeZone: 'UTC' };

function changed(change: (state: QueueState) => unknown): QueueState {
  const state = newState();
  change(state);
  return state;
}
