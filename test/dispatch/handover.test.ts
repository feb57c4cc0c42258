import { describe, expect, test } from 'vitest';
import { levelsLeft } from '../../src/dispatch/handover.ts';
import { createQueueState } from '../../src/dispatch/queue-state.ts';
import { DEFAULT_FLOW_LIMITS } from '../../src/model.ts';
import { queueRecord } from '../support/queue-record.ts';

const NOW = { nowMs: 0, databaseNowMs: 1_060_000 };
const owned = { epoch: '1', takenAtMs: 1_000_000 };

describe('levelsLeft()', () => {
  test('passes on what it was left of queues that it never met, older by the time it had them', () => {
    const handover = {
      at: 1_000,
      since: 400,
      levels: { 7: 0.5 },
      older: { 8: { level: 2, at: 900 } },
      flows: { 7: { keys: { a: 5 }, others: 9 } },
    };
    expect(levelsLeft([], { ...owned, handover }, NOW)).toEqual({
      since: 400,
      levels: {},
      older: { 7: { level: 0.5, at: 1_000 }, 8: { level: 2, at: 900 } },
      flows: { 7: { keys: { a: 65 }, others: 69 } },
    });
  });

  test('after a crash of the owner before, nobody is known to have dispatched since the take-over', () => {
    expect(levelsLeft([], { ...owned, handover: null }, NOW).since).toBe(1_000);
  });

  test('says of queues that it knows how their keys stand now', () => {
    const record = queueRecord();
    const flow = { ...DEFAULT_FLOW_LIMITS, maxDispatchesPerSecond: 0.1, maxBurstSize: 2 };
    const settings = { ...record.settings, flow };
    const state = createQueueState({ ...record, settings }, 0, { foreign: 0, quietSeconds: 5 });
    const handover = { at: 1_000, levels: {}, flows: { 1: { keys: { a: 5 }, others: 9 } } };
    const left = levelsLeft([state], { ...owned, handover }, NOW);
    expect(left.flows).toEqual({ [record.id]: { keys: {}, others: 5 } });
  });
});
