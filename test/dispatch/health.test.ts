import { afterEach, describe, expect, test } from 'vitest';
import { createHealth, type Health } from '../../src/dispatch/health.ts';
import {
  changeRecord,
  createQueueState,
  openDispatches,
  planClaim,
  type QueueState,
  secondsUntilOpen,
} from '../../src/dispatch/queue-state.ts';
import { DEFAULT_QUEUE_SETTINGS, type QueueRecord, type Settlement } from '../../src/model.ts';
import type { OwnersStatus } from '../../src/store/queue-status.ts';
import { queueRecord } from '../support/queue-record.ts';
import { until } from '../support/until.ts';

const DATABASE_TIME = Date.parse('2026-05-04T12:00:00Z');
const [ONE, OTHER] = ['https://one.example', 'https://other.example'];

let nowMs = 0;
let told: OwnersStatus[] = [];
let health: Health;

function start(): QueueState {
  nowMs = 0;
  told = [];
  health = createHealth({
    monotonic: () => nowMs,
    databaseNow: () => DATABASE_TIME + nowMs,
    onChanged() {},
    onStatus: (_, status) => void told.push(status),
  });
  return createQueueState(record(), 0);
}

function record(fields: Partial<QueueRecord> = {}): QueueRecord {
  return queueRecord({
    settings: {
      ...DEFAULT_QUEUE_SETTINGS,
      circuitBreaker: { minCalls: 10, failureShare: 0.7, openSeconds: 30 },
    },
    calendar: null,
    ...fields,
  });
}

afterEach(() => health.stop());

function settlement(status: number | null): Settlement {
  const outcome = status === null ? 'unreachable' : 'responded';
  return { outcome, status } as Settlement;
}

/** One whole call: false when it was put off. */
function call(state: QueueState, origin: string, status: number | null): boolean {
  const admission = health.admit(state, `${origin}/work`, false);
  health.note(state, admission, settlement(status));
  return admission.kind === 'call';
}

function fail(state: QueueState, origin = ONE, count = 10): void {
  for (let n = 0; n < count; n += 1) call(state, origin, 500);
}

describe('admit()', () => {
  test('puts tasks of an origin that keeps failing off, and lets those of others through', () => {
    const state = start();
    for (let n = 0; n < 5; n += 1) call(state, OTHER, 200);
    fail(state);
    expect([call(state, ONE, 200), call(state, OTHER, 200)]).toEqual([false, true]);
    expect(state.heldUntilMs).toBe(0);
  });

  test('spreads the return of many, so that they do not all come with the probe', () => {
    const state = start();
    fail(state);
    const delays = Array.from({ length: 4000 }, () => {
      const admission = health.admit(state, ONE, false);
      return admission.kind === 'postpone' ? admission.delaySeconds : 0;
    });
    expect([delays[0], delays[99], delays[3999]]).toEqual([30.01, 31, 60]);
  });

  test('lets what was told to run now through', () => {
    const state = start();
    fail(state);
    expect(health.admit(state, ONE, true)).toMatchObject({ kind: 'call', isProbe: false });
  });

  test('forgets the origins called longest ago beyond 256, but not the one that is held', () => {
    const state = start();
    fail(state);
    for (let n = 0; n < 600; n += 1) call(state, `https://${n}.example`, 200);
    expect(call(state, ONE, 200)).toBe(false);
  });
});

describe('a queue of which nearly all goes to one origin', () => {
  test('is held as a whole, and then claims one task at a time', () => {
    const state = start();
    fail(state);
    expect([openDispatches(state, 29_999), secondsUntilOpen(state, 0)]).toEqual([0, 30]);
    expect(planClaim(state, 100, 29_999)).toBeNull();
    nowMs = 30_000;
    expect(planClaim(state, 100, nowMs)?.limit).toBe(1);
    expect(planClaim(state, 100, nowMs + 999)).toBeNull();
    const probe = health.admit(state, ONE, false);
    expect(probe).toMatchObject({ kind: 'call', isProbe: true });
    expect(planClaim(state, 100, nowMs + 60_000)).toBeNull();
    health.note(state, probe, settlement(200));
    expect(openDispatches(state, nowMs)).toBeGreaterThan(1);
  });

  test('is held for twice as long after a bad probe, and for no longer after one that was withdrawn', () => {
    const state = start();
    fail(state);
    nowMs = 30_000;
    health.note(state, health.admit(state, ONE, false), null);
    expect(planClaim(state, 100, nowMs)?.limit).toBe(1);
    call(state, ONE, null);
    expect([openDispatches(state, 89_999), openDispatches(state, 90_000)]).toEqual([0, 1]);
  });

  test('goes on with the next task at once when one of another origin came instead of a probe', () => {
    const state = start();
    fail(state);
    nowMs = 30_000;
    planClaim(state, 100, nowMs);
    call(state, OTHER, 200);
    expect(planClaim(state, 100, nowMs)?.limit).toBe(1);
  });

  test('is let go at once by a breaker that is turned off', () => {
    const state = start();
    fail(state);
    const { settings } = state.record;
    changeRecord(state, record({ settings: { ...settings, circuitBreaker: null } }), 0);
    expect(openDispatches(state, 0)).toBeGreaterThan(1);
    expect([call(state, ONE, 500), call(state, ONE, 500)]).toEqual([true, true]);
  });
});

describe('note()', () => {
  test('halves rate and burst for a 503, and keeps the share when the settings change', () => {
    const state = start();
    call(state, ONE, 503);
    expect([state.bucket.ratePerSecond, state.gate.burst]).toEqual([250, 50]);
    changeRecord(state, queueRecord({ calendar: null }, { maxDispatchesPerSecond: 100 }), 0);
    expect([state.gate.ratePerSecond, state.bucket.ratePerSecond]).toEqual([50, 50]);
  });

  test('tells the status once for many changes, with times by the database', async () => {
    const state = start();
    fail(state, ONE, 5);
    for (let n = 0; n < 5; n += 1) call(state, ONE, 503);
    await until(() => told.length > 0);
    expect(told).toEqual([
      {
        openCircuits: [{ origin: ONE, probeAt: '2026-05-04T12:00:30.000Z' }],
        rateShare: 0.5,
      },
    ]);
  });
});
