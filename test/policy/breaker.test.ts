import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import {
  type Breaker,
  createBreaker,
  judgeCall,
  mayCall,
  noteOutcome,
  recentCalls,
  type Verdict,
  withdrawProbe,
} from '../../src/policy/breaker.ts';

const SETTINGS = { minCalls: 10, failureShare: 0.7, openSeconds: 30 };

function note(breaker: Breaker, nowMs: number, verdict: Verdict, isProbe = false): boolean {
  return noteOutcome(breaker, SETTINGS, { verdict, isProbe }, nowMs);
}

function openBreaker(): Breaker {
  const breaker = createBreaker();
  for (let call = 0; call < 10; call += 1) note(breaker, 0, 'bad');
  return breaker;
}

describe('judgeCall()', () => {
  test.each([
    ['responded', 200, 'good'],
    ['responded', 302, 'good'],
    ['responded', 400, 'good'],
    ['responded', 404, 'good'],
    ['responded', 429, 'bad'],
    ['responded', 500, 'bad'],
    ['responded', 503, 'bad'],
    ['timed_out', null, 'bad'],
    ['unreachable', null, 'bad'],
    ['blocked', null, null],
    ['lost', null, null],
    [null, null, null],
  ] as const)('%s with status %s is %s', (outcome, status, verdict) => {
    expect(judgeCall(outcome, status)).toBe(verdict);
  });
});

describe('noteOutcome()', () => {
  test('opens at the call that makes minCalls, when enough of them failed', () => {
    const breaker = createBreaker();
    for (const verdict of ['good', 'good', 'good'] as const) note(breaker, 0, verdict);
    const opened = Array.from({ length: 7 }, (_, call) => note(breaker, call, 'bad'));
    expect(opened).toEqual([false, false, false, false, false, false, true]);
    expect(mayCall(breaker, 6)).toEqual({ retryInSeconds: 30 });
  });

  test('stays closed below the share, and without any failure', () => {
    const breaker = createBreaker();
    for (let call = 0; call < 40; call += 1) note(breaker, 0, call % 10 < 4 ? 'good' : 'bad');
    const lenient = createBreaker();
    for (let call = 0; call < 40; call += 1) {
      const settings = { ...SETTINGS, failureShare: 0.000_01, minCalls: 1 };
      noteOutcome(lenient, settings, { verdict: 'good', isProbe: false }, 0);
    }
    expect([mayCall(breaker, 0), mayCall(lenient, 0)]).toEqual(['go', 'go']);
  });

  test('forgets calls a minute old', () => {
    const breaker = createBreaker();
    for (let call = 0; call < 9; call += 1) note(breaker, 0, 'bad');
    expect(note(breaker, 60_000, 'bad')).toBe(false);
    expect(recentCalls(breaker, 60_000)).toEqual({ calls: 1, failures: 1 });
  });

  test('a call that says nothing of the origin does not count', () => {
    const breaker = createBreaker();
    for (let call = 0; call < 100; call += 1) note(breaker, 0, null);
    expect(recentCalls(breaker, 0)).toEqual({ calls: 0, failures: 0 });
  });

  test('late news of calls from before the opening changes nothing', () => {
    const breaker = openBreaker();
    expect([note(breaker, 10, 'good'), note(breaker, 20, 'bad')]).toEqual([false, false]);
    expect(mayCall(breaker, 29_999)).toEqual({ retryInSeconds: 0.001 });
  });
});

describe('a probe', () => {
  test('goes alone once openSeconds have passed', () => {
    const breaker = openBreaker();
    expect(mayCall(breaker, 30_000)).toBe('probe');
    expect(mayCall(breaker, 30_001)).toEqual({ retryInSeconds: 5 });
  });

  test('that is good closes and forgets', () => {
    const breaker = openBreaker();
    mayCall(breaker, 30_000);
    expect(note(breaker, 30_100, 'good', true)).toBe(true);
    expect(mayCall(breaker, 30_100)).toBe('go');
    for (let call = 0; call < 9; call += 1) note(breaker, 30_200, 'bad');
    expect(mayCall(breaker, 30_200)).toBe('go');
  });

  test('that is bad opens again for twice as long, up to ten times', () => {
    const breaker = openBreaker();
    let nowMs = 0;
    const waits = Array.from({ length: 6 }, () => {
      const held = mayCall(breaker, nowMs) as { retryInSeconds: number };
      nowMs += held.retryInSeconds * 1000;
      expect(mayCall(breaker, nowMs)).toBe('probe');
      note(breaker, nowMs, 'bad', true);
      return held.retryInSeconds;
    });
    expect(waits).toEqual([30, 60, 120, 240, 300, 300]);
  });

  test('that was withdrawn, or says nothing, makes room for another', () => {
    const breaker = openBreaker();
    mayCall(breaker, 30_000);
    withdrawProbe(breaker);
    expect(mayCall(breaker, 30_000)).toBe('probe');
    note(breaker, 30_000, null, true);
    expect(mayCall(breaker, 30_000)).toBe('probe');
  });
});

describe('any run of calls', () => {
  const calls = fc.array(
    fc.record({
      waitMs: fc.integer({ min: 0, max: 20_000 }),
      verdict: fc.constantFrom<Verdict>('good', 'bad', 'bad', 'bad', null),
    }),
    { maxLength: 200 },
  );

  test('opens only when the last minute warrants it, and lets nothing but probes through then', () => {
    fc.assert(
      fc.property(calls, (run) => {
        const breaker = createBreaker();
        let log: { atMs: number; verdict: Verdict }[] = [];
        let nowMs = 0;
        for (const { waitMs, verdict } of run) {
          nowMs += waitMs;
          const wasOpen = breaker.opening !== null;
          const admission = mayCall(breaker, nowMs);
          expect(admission === 'go').toBe(!wasOpen);
          if (typeof admission === 'object') {
            expect(admission.retryInSeconds).toBeGreaterThan(0);
            expect(admission.retryInSeconds).toBeLessThanOrEqual(300);
            continue;
          }
          log.push({ atMs: nowMs, verdict });
          const changed = note(breaker, nowMs, verdict, admission === 'probe');
          const recent = log.filter(({ atMs }) => atMs > nowMs - 60_000);
          const known = recent.filter((call) => call.verdict !== null);
          const bad = known.filter((call) => call.verdict === 'bad');
          if (!wasOpen && changed) expect(known.length).toBeGreaterThanOrEqual(SETTINGS.minCalls);
          if (!wasOpen && changed) expect(bad.length).toBeGreaterThan(0);
          if (changed) log = [];
        }
      }),
    );
  });

  test('whatever came before, good calls alone close it in the end', () => {
    fc.assert(
      fc.property(calls, (run) => {
        const breaker = createBreaker();
        let nowMs = 0;
        for (const { waitMs, verdict } of run) {
          nowMs += waitMs;
          const admission = mayCall(breaker, nowMs);
          if (typeof admission === 'string') note(breaker, nowMs, verdict, admission === 'probe');
        }
        nowMs += 300_000;
        const admission = mayCall(breaker, nowMs);
        expect(admission).not.toBeTypeOf('object');
        note(breaker, nowMs, 'good', admission === 'probe');
        expect(mayCall(breaker, nowMs)).toBe('go');
      }),
    );
  });
});
