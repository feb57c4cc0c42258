import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import {
  longestGap,
  mostAllowed,
  mostInWindow,
  rateUsed,
  secondsUntilRate,
} from '../../../bench/limits/windows.ts';

/** Calls at this distance, from 0 on. */
function every(ms: number, count: number, fromMs = 0): number[] {
  return Array.from({ length: count }, (_, index) => fromMs + index * ms);
}

describe('mostInWindow()', () => {
  it('finds the worst window wherever it begins, both ends included', () => {
    expect(mostInWindow([0, 400, 950, 1_000, 1_400, 3_000], 1_000)).toBe(4);
  });

  it('finds what counting from every call finds', () => {
    const stamps = fc.array(fc.nat(500), { maxLength: 40 });
    fc.assert(
      fc.property(stamps, fc.nat(200), (unsorted, windowMs) => {
        const sorted = unsorted.toSorted((a, b) => a - b);
        const counts = sorted.map(
          (from) => sorted.filter((at) => at >= from && at <= from + windowMs).length,
        );
        expect(mostInWindow(sorted, windowMs)).toBe(Math.max(0, ...counts));
      }),
    );
  });

  it('is 0 without a call', () => {
    expect(mostInWindow([], 1_000)).toBe(0);
  });
});

describe('mostAllowed()', () => {
  it('is burst + rate × (T + 0.1) + 1', () => {
    expect(mostAllowed({ ratePerSecond: 50, burst: 10 }, 1)).toBe(66);
  });
});

describe('rateUsed()', () => {
  it('goes by the distance of the calls, so that one in five seconds is right too', () => {
    expect(rateUsed(every(5_000, 4, 1_700), [{ fromMs: 0, toMs: 20_000 }], 0.2)).toBeCloseTo(1);
  });

  it('leaves out what lies between the periods', () => {
    const stamps = [...every(20, 51), ...every(20, 51, 60_000)];
    const periods = [
      { fromMs: 0, toMs: 1_000 },
      { fromMs: 60_000, toMs: 61_000 },
    ];
    expect(rateUsed(stamps, periods, 50)).toBeCloseTo(1);
    expect(rateUsed(stamps, [{ fromMs: 0, toMs: 61_000 }], 50)).toBeLessThan(0.05);
  });

  it('is null with fewer than three calls', () => {
    expect(rateUsed([0, 5_000], [{ fromMs: 0, toMs: 9_000 }], 0.2)).toBeNull();
  });
});

describe('secondsUntilRate()', () => {
  const period = { fromMs: 0, toMs: 6_000 };

  it('is 0 when the new rate is there at once', () => {
    expect(secondsUntilRate(every(50, 100), period, { from: 50, to: 20 })).toBe(0);
  });

  it('is the time for which the old rate went on', () => {
    const stamps = [...every(20, 100), ...every(50, 80, 2_000)];
    expect(secondsUntilRate(stamps, period, { from: 50, to: 20 })).toBeCloseTo(1.75, 1);
  });

  it('is Infinity when the old rate never ends', () => {
    expect(secondsUntilRate(every(20, 300), period, { from: 50, to: 20 })).toBe(
      Number.POSITIVE_INFINITY,
    );
  });
});

describe('longestGap()', () => {
  it('counts a gap that reaches into the period', () => {
    expect(longestGap([0, 900, 5_000, 5_100], { fromMs: 1_000, toMs: 5_050 })).toBe(4.1);
  });
});
