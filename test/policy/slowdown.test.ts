import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import {
  createSlowdown,
  MIN_RATE_SHARE,
  nextChangeMs,
  noteAnswer,
  rateShare,
} from '../../src/policy/slowdown.ts';

describe('noteAnswer()', () => {
  test.each([429, 503])('%i halves the share, once a second', (status) => {
    const slowdown = createSlowdown();
    expect(noteAnswer(slowdown, status, 0)).toBe(true);
    expect(noteAnswer(slowdown, status, 999)).toBe(false);
    expect(rateShare(slowdown, 999)).toBe(0.5);
    expect(noteAnswer(slowdown, status, 1000)).toBe(true);
    expect(rateShare(slowdown, 1000)).toBe(0.25);
  });

  test.each([200, 204, 302, 400, 500, 502, 504, null])('%s changes nothing', (status) => {
    const slowdown = createSlowdown();
    expect(noteAnswer(slowdown, status, 0)).toBe(false);
    expect(rateShare(slowdown, 0)).toBe(1);
  });

  test('never goes below a 64th, however long it is asked', () => {
    const slowdown = createSlowdown();
    for (let second = 0; second < 20; second += 1) noteAnswer(slowdown, 503, second * 500);
    expect(rateShare(slowdown, 9500)).toBe(MIN_RATE_SHARE);
  });

  test('that does not halve still puts the recovery off', () => {
    const slowdown = createSlowdown();
    noteAnswer(slowdown, 503, 0);
    noteAnswer(slowdown, 503, 900);
    expect(rateShare(slowdown, 1500)).toBe(0.5);
    expect(rateShare(slowdown, 1900)).toBe(0.6);
  });
});

describe('rateShare()', () => {
  test('gets a tenth back for each full second, up to 1', () => {
    const slowdown = createSlowdown();
    noteAnswer(slowdown, 503, 0);
    const shares = [999, 1000, 2999, 4999, 5000, 60_000].map((ms) => rateShare(slowdown, ms));
    expect(shares).toEqual([0.5, 0.6, 0.7, 0.9, 1, 1]);
  });
});

describe('nextChangeMs()', () => {
  test('is the next full second since the last asking, and never once the share is whole', () => {
    const slowdown = createSlowdown();
    expect(nextChangeMs(slowdown, 0)).toBe(Number.POSITIVE_INFINITY);
    noteAnswer(slowdown, 503, 200);
    expect([200, 1199, 1200].map((ms) => nextChangeMs(slowdown, ms))).toEqual([1200, 1200, 2200]);
    expect(nextChangeMs(slowdown, 5200)).toBe(Number.POSITIVE_INFINITY);
  });
});

describe('any run of answers', () => {
  const answers = fc.array(
    fc.record({
      waitMs: fc.integer({ min: 0, max: 3000 }),
      status: fc.constantFrom(200, 429, 500, 503, null),
    }),
    { maxLength: 60 },
  );

  test('keeps the share between a 64th and 1, and halves it at most once a second', () => {
    fc.assert(
      fc.property(answers, (run) => {
        const slowdown = createSlowdown();
        const halvings: number[] = [];
        let nowMs = 0;
        for (const { waitMs, status } of run) {
          nowMs += waitMs;
          const before = rateShare(slowdown, nowMs);
          if (noteAnswer(slowdown, status, nowMs)) halvings.push(nowMs);
          const after = rateShare(slowdown, nowMs);
          expect(after).toBeGreaterThanOrEqual(MIN_RATE_SHARE);
          expect(after).toBeLessThanOrEqual(before);
          expect(after).toBeGreaterThanOrEqual(Math.max(MIN_RATE_SHARE, before / 2));
        }
        for (const [index, atMs] of halvings.slice(1).entries()) {
          expect(atMs - halvings[index]!).toBeGreaterThanOrEqual(1000);
        }
      }),
    );
  });

  test('is forgotten ten seconds after the last asking, and grows exactly at nextChangeMs()', () => {
    fc.assert(
      fc.property(answers, (run) => {
        const slowdown = createSlowdown();
        let nowMs = 0;
        for (const { waitMs, status } of run) {
          nowMs += waitMs;
          noteAnswer(slowdown, status, nowMs);
        }
        expect(rateShare(slowdown, nowMs + 10_000)).toBe(1);
        const nextMs = nextChangeMs(slowdown, nowMs);
        if (!Number.isFinite(nextMs)) return;
        const now = rateShare(slowdown, nowMs);
        expect(rateShare(slowdown, nextMs - 1)).toBe(now);
        expect(rateShare(slowdown, nextMs)).toBeGreaterThan(now);
      }),
    );
  });
});
