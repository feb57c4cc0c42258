import { expect, test } from 'vitest';
import { createDatabaseClock } from '../../src/dispatch/database-clock.ts';

test('now() is the database time of the last reading, carried on by the monotonic clock', () => {
  let monotonicMs = 5_000;
  const clock = createDatabaseClock(() => monotonicMs);
  const reading = new Date('2026-01-02T03:04:05.000Z');
  clock.set(reading, 4_000);
  expect(clock.now()).toBe(reading.getTime() + 1_000);
  monotonicMs += 2_500;
  expect(clock.now()).toBe(reading.getTime() + 3_500);
});

test('now() follows a database whose clock was set back', () => {
  const clock = createDatabaseClock(() => 1_000);
  clock.set(new Date(90_000), 1_000);
  clock.set(new Date(50_000), 1_000);
  expect(clock.now()).toBe(50_000);
});
