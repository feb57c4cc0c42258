import { describe, expect, test } from 'vitest';
import { createDeathWatch, type Pulse } from '../../src/policy/death-watch.ts';

const TAKEOVER_MS = 10_000;
const pulse = (fields: Partial<Pulse> = {}): Pulse => ({
  id: 1,
  heartbeat: '7',
  takeoverMs: TAKEOVER_MS,
  ...fields,
});

/** Looks every second, each look at once, from 0 up to and at `untilMs`; the dead of the last one. */
function lookUntil(watch: ReturnType<typeof createDeathWatch>, untilMs: number, other: Pulse) {
  let dead: Pulse[] = [];
  for (let ms = 0; ms <= untilMs; ms += 1_000) dead = watch.observe([other], ms, ms);
  return dead;
}

describe('observe()', () => {
  test('finds dead whose counter stood still for 8/10 of the take-over time', () => {
    expect(lookUntil(createDeathWatch(TAKEOVER_MS), 7_000, pulse())).toEqual([]);
    expect(lookUntil(createDeathWatch(TAKEOVER_MS), 8_000, pulse())).toEqual([pulse()]);
  });

  test('begins anew when the counter moves', () => {
    const watch = createDeathWatch(TAKEOVER_MS);
    lookUntil(watch, 7_000, pulse());
    const moved = pulse({ heartbeat: '8' });
    for (let ms = 8_000; ms < 16_000; ms += 1_000) {
      expect(watch.observe([moved], ms, ms)).toEqual([]);
    }
    expect(watch.observe([moved], 16_000, 16_000)).toEqual([moved]);
  });

  test('calls nobody dead after it could not look for half the time', () => {
    const watch = createDeathWatch(TAKEOVER_MS);
    lookUntil(watch, 3_000, pulse());
    expect(watch.observe([pulse()], 8_001, 8_001)).toEqual([]);
    expect(watch.observe([pulse()], 12_000, 12_000)).toEqual([]);
    expect(watch.observe([pulse()], 16_001, 16_001)).toEqual([pulse()]);
  });

  test('counts from an answer to a question, so that slow answers make nobody older', () => {
    const watch = createDeathWatch(TAKEOVER_MS);
    watch.observe([pulse()], 0, 2_000);
    watch.observe([pulse()], 5_000, 5_000);
    expect(watch.observe([pulse()], 9_999, 12_000)).toEqual([]);
    expect(watch.observe([pulse()], 10_000, 10_000)).toEqual([pulse()]);
  });

  test('goes by the longer take-over time, its own or the other’s', () => {
    const patient = pulse({ takeoverMs: 3 * TAKEOVER_MS });
    expect(lookUntil(createDeathWatch(TAKEOVER_MS), 23_000, patient)).toEqual([]);
    expect(lookUntil(createDeathWatch(TAKEOVER_MS), 24_000, patient)).toEqual([patient]);
    const hasty = pulse({ takeoverMs: 1_000 });
    expect(lookUntil(createDeathWatch(TAKEOVER_MS), 7_000, hasty)).toEqual([]);
    expect(lookUntil(createDeathWatch(TAKEOVER_MS), 8_000, hasty)).toEqual([hasty]);
  });

  test('knows nothing any more of one that was gone meanwhile', () => {
    const watch = createDeathWatch(TAKEOVER_MS);
    lookUntil(watch, 7_000, pulse());
    watch.observe([], 8_000, 8_000);
    expect(watch.observe([pulse()], 9_000, 9_000)).toEqual([]);
  });
});
