import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import {
  availableTokens,
  changeRate,
  createBucket,
  returnTokens,
  secondsUntilToken,
  takeTokens,
} from '../../src/policy/rate.ts';

describe('createBucket()', () => {
  test('is full unless a level is handed over', () => {
    expect(availableTokens(createBucket({ ratePerSecond: 1, burst: 5 }, 0), 0)).toBe(5);
    expect(availableTokens(createBucket({ ratePerSecond: 1, burst: 5 }, 0, 0), 0)).toBe(0);
    expect(availableTokens(createBucket({ ratePerSecond: 1, burst: 5 }, 0, 9), 0)).toBe(5);
  });

  test.each([
    [{ ratePerSecond: -1, burst: 5 }, 'ratePerSecond must be a number from 0, got -1'],
    [{ ratePerSecond: Number.NaN, burst: 5 }, 'ratePerSecond must be a number from 0, got NaN'],
    [{ ratePerSecond: 1, burst: 0.5 }, 'burst must be a number from 1, got 0.5'],
  ])('refuses %j', (rate, message) => {
    expect(() => createBucket(rate, 0)).toThrow(message);
  });
});

describe('takeTokens()', () => {
  test('takes what is there and no more, whole tokens only', () => {
    const bucket = createBucket({ ratePerSecond: 10, burst: 3 }, 0);
    expect(takeTokens(bucket, 2, 0)).toBe(2);
    expect(takeTokens(bucket, 2, 0)).toBe(1);
    expect(takeTokens(bucket, 2, 0)).toBe(0);
    expect(takeTokens(bucket, 2, 150)).toBe(1);
    expect(availableTokens(bucket, 150)).toBeCloseTo(0.5);
  });

  test('takes nothing for a count of 0 or below', () => {
    const bucket = createBucket({ ratePerSecond: 1, burst: 3 }, 0);
    expect([takeTokens(bucket, 0, 0), takeTokens(bucket, -5, 0)]).toEqual([0, 0]);
    expect(availableTokens(bucket, 0)).toBe(3);
  });

  test('gives one token in 5 s at 0.2/s, however often it is asked', () => {
    const bucket = createBucket({ ratePerSecond: 0.2, burst: 1 }, 0, 0);
    const times = Array.from({ length: 601 }, (_, index) => index * 100);
    expect(times.filter((nowMs) => takeTokens(bucket, 1, nowMs) === 1)).toEqual(
      Array.from({ length: 12 }, (_, index) => (index + 1) * 5000),
    );
  });
});

describe('a clock that goes backwards', () => {
  test('adds no tokens, then or when it catches up', () => {
    const bucket = createBucket({ ratePerSecond: 1, burst: 5 }, 10_000);
    takeTokens(bucket, 5, 10_000);
    expect(takeTokens(bucket, 5, 2_000)).toBe(0);
    expect(takeTokens(bucket, 5, 10_000)).toBe(0);
    expect(takeTokens(bucket, 5, 11_000)).toBe(1);
  });

  test('takes none away either', () => {
    const bucket = createBucket({ ratePerSecond: 1, burst: 5 }, 10_000);
    expect(takeTokens(bucket, 1, 8_000)).toBe(1);
    expect(availableTokens(bucket, 10_000)).toBe(4);
  });

  test('is waited for by secondsUntilToken()', () => {
    const bucket = createBucket({ ratePerSecond: 1, burst: 5 }, 10_000, 0);
    expect(secondsUntilToken(bucket, 8_000)).toBe(3);
  });
});

describe('secondsUntilToken()', () => {
  test('is 0 while a whole token is there, else the time that the rest of it takes', () => {
    const bucket = createBucket({ ratePerSecond: 0.2, burst: 1 }, 0);
    expect(secondsUntilToken(bucket, 0)).toBe(0);
    takeTokens(bucket, 1, 0);
    expect(secondsUntilToken(bucket, 0)).toBe(5);
    expect(secondsUntilToken(bucket, 4_000)).toBeCloseTo(1);
  });

  test('is Infinity when the rate is 0 and the bucket is empty', () => {
    const bucket = createBucket({ ratePerSecond: 0, burst: 1 }, 0, 0);
    expect(secondsUntilToken(bucket, 1e9)).toBe(Number.POSITIVE_INFINITY);
  });

  test('leads to a token once that time has passed, whatever the rate and level', () => {
    const rates = fc.double({ min: 0.001, max: 10_000, noNaN: true });
    const levels = fc.double({ min: 0, max: 1, noNaN: true });
    fc.assert(
      fc.property(rates, levels, (ratePerSecond, tokens) => {
        const bucket = createBucket({ ratePerSecond, burst: 1 }, 0, tokens);
        return takeTokens(bucket, 1, secondsUntilToken(bucket, 0) * 1000) === 1;
      }),
    );
  });
});

describe('returnTokens()', () => {
  test('gives tokens back, up to the burst', () => {
    const bucket = createBucket({ ratePerSecond: 0, burst: 5 }, 0);
    takeTokens(bucket, 4, 0);
    returnTokens(bucket, 3, 0);
    expect(availableTokens(bucket, 0)).toBe(4);
    returnTokens(bucket, 100, 0);
    expect(availableTokens(bucket, 0)).toBe(5);
  });

  test('takes nothing away for a negative count', () => {
    const bucket = createBucket({ ratePerSecond: 0, burst: 5 }, 0, 2);
    returnTokens(bucket, -1, 0);
    expect(availableTokens(bucket, 0)).toBe(2);
  });
});

describe('changeRate()', () => {
  test('keeps the level that the old rate gave, less what the new burst can not hold', () => {
    const bucket = createBucket({ ratePerSecond: 1, burst: 100 }, 0, 0);
    changeRate(bucket, { ratePerSecond: 10, burst: 200 }, 20_000);
    expect(availableTokens(bucket, 20_000)).toBe(20);
    expect(availableTokens(bucket, 21_000)).toBe(30);
    changeRate(bucket, { ratePerSecond: 10, burst: 7 }, 21_000);
    expect(availableTokens(bucket, 21_000)).toBe(7);
  });

  test('refuses a rate that is not a number and leaves the bucket as it was', () => {
    const bucket = createBucket({ ratePerSecond: 1, burst: 5 }, 0);
    const before = { ...bucket };
    expect(() => changeRate(bucket, { ratePerSecond: Number.NaN, burst: 1 }, 9)).toThrow(
      RangeError,
    );
    expect(bucket).toEqual(before);
  });
});

describe('takeTokens() and returnTokens() in any order', () => {
  const steps = fc.array(
    fc.record({
      elapsedMs: fc.oneof(fc.constant(0), fc.double({ min: -500, max: 5_000, noNaN: true })),
      verb: fc.constantFrom('take', 'take', 'take', 'return', 'look'),
      count: fc.nat(20),
    }),
    { maxLength: 60 },
  );
  const rate = fc.record({
    ratePerSecond: fc.double({ min: 0, max: 50, noNaN: true }),
    burst: fc.integer({ min: 1, max: 30 }),
  });

  test('hand out at most burst + rate × T in any window of T seconds, less what came back', () => {
    fc.assert(
      fc.property(rate, steps, (limits, sequence) => {
        const events = replay(limits, sequence);
        for (let first = 0; first < events.length; first += 1) {
          let taken = 0;
          for (const event of events.slice(first)) {
            taken += event.taken;
            const windowSeconds = (event.atMs - events[first]!.atMs) / 1000;
            expect(taken).toBeLessThanOrEqual(
              limits.burst + limits.ratePerSecond * windowSeconds + 1e-6,
            );
          }
        }
      }),
    );
  });

  type Steps = typeof steps extends fc.Arbitrary<infer Value> ? Value : never;

  /** Runs the steps; `atMs` is the latest time seen so far, as a bucket counts time. */
  function replay(limits: { ratePerSecond: number; burst: number }, sequence: Steps) {
    const bucket = createBucket(limits, 0);
    let clockMs = 0;
    let latestMs = 0;
    return sequence.map(({ elapsedMs, verb, count }) => {
      clockMs += elapsedMs;
      latestMs = Math.max(latestMs, clockMs);
      const level = availableTokens(bucket, clockMs);
      expect(level).toBeGreaterThanOrEqual(0);
      expect(Math.max(level, bucket.tokens)).toBeLessThanOrEqual(limits.burst);
      if (verb === 'take') return { atMs: latestMs, taken: takeTokens(bucket, count, clockMs) };
      if (verb === 'return') {
        const returned = Math.min(count, limits.burst - level);
        returnTokens(bucket, count, clockMs);
        return { atMs: latestMs, taken: -returned };
      }
      return { atMs: latestMs, taken: 0 };
    });
  }
});
