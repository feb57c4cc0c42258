import fc from 'fast-check';
import { expect, test } from 'vitest';
import { DEFAULT_QUEUE_SETTINGS, type RetryPolicy } from '../../src/model.ts';
import { backoffSeconds } from '../../src/policy/backoff.ts';

function policy(min: number, max: number, doublings: number): RetryPolicy {
  return {
    ...DEFAULT_QUEUE_SETTINGS.retry,
    minBackoffSeconds: min,
    maxBackoffSeconds: max,
    maxDoublings: doublings,
  };
}

function curve(retry: RetryPolicy, length: number): number[] {
  return Array.from({ length }, (_, index) => backoffSeconds(retry, index + 1));
}

const seconds = fc.double({ min: 0, max: 1e9, noNaN: true });
const attempts = fc.oneof(
  fc.integer({ min: 1, max: 200 }),
  fc.maxSafeNat().map((n) => n + 1),
);
const policies = fc
  .tuple(seconds, seconds, fc.oneof(fc.nat(40), fc.maxSafeNat()))
  .map(([min, max, doublings]) => policy(min, max, doublings));

test.each([
  { min: 10, max: 300, doublings: 3, delays: [10, 20, 40, 80, 160, 240, 300, 300] },
  { min: 1, max: 10, doublings: 0, delays: [1, 2, 3, 4, 5, 6, 7, 8] },
  { min: 1, max: 3600, doublings: 16, delays: [1, 2, 4, 8, 16, 32, 64, 128] },
  { min: 5, max: 5, doublings: 16, delays: [5, 5, 5] },
  { min: 0, max: 3600, doublings: 16, delays: [0, 0, 0] },
  { min: 60, max: 10, doublings: 1, delays: [10, 10] },
])('backoffSeconds() follows the curve of min $min, max $max, doublings $doublings', (row) => {
  expect(curve(policy(row.min, row.max, row.doublings), row.delays.length)).toEqual(row.delays);
});

test('backoffSeconds() reaches the maximum with the default policy at the 17th retry', () => {
  const { retry } = DEFAULT_QUEUE_SETTINGS;
  expect(backoffSeconds(retry, 16)).toBe(0.1 * 2 ** 15);
  expect(backoffSeconds(retry, 17)).toBe(3600);
});

test.each([
  { min: 1, attempt: 2 ** 31, doublings: 16, expected: 3600 },
  { min: 1, attempt: Number.MAX_SAFE_INTEGER, doublings: Number.MAX_SAFE_INTEGER, expected: 3600 },
  { min: 0, attempt: Number.MAX_SAFE_INTEGER, doublings: Number.MAX_SAFE_INTEGER, expected: 0 },
  { min: 1, attempt: 0, doublings: 16, expected: 1 },
])('backoffSeconds() is $expected at attempt $attempt with doublings $doublings', (row) => {
  expect(backoffSeconds(policy(row.min, 3600, row.doublings), row.attempt)).toBe(row.expected);
});

test('backoffSeconds() lies between the smaller of min and max, and max', () => {
  fc.assert(
    fc.property(policies, attempts, (retry, attempt) => {
      const delay = backoffSeconds(retry, attempt);
      const floor = Math.min(retry.minBackoffSeconds, retry.maxBackoffSeconds);
      return delay >= floor && delay <= retry.maxBackoffSeconds;
    }),
  );
});

test('backoffSeconds() never falls from one attempt to a later one', () => {
  fc.assert(
    fc.property(policies, attempts, attempts, (retry, a, b) => {
      const [earlier, later] = [Math.min(a, b), Math.max(a, b)];
      return backoffSeconds(retry, earlier) <= backoffSeconds(retry, later);
    }),
  );
});
