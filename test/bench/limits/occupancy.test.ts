import { describe, expect, it } from 'vitest';
import { meanInFlight, mostInFlight, secondsUntilPlaces } from '../../../bench/limits/occupancy.ts';

const whole = { fromMs: 0, toMs: 10_000 };
const call = (atMs: number, endedMs: number | null) => ({ atMs, endedMs });

describe('mostInFlight()', () => {
  it('counts calls that overlap, and not one that begins as another ends', () => {
    expect(mostInFlight([call(0, 100), call(50, 200), call(100, 300)], whole)).toBe(2);
  });

  it('counts a call that never ended as long as anyone looks', () => {
    expect(mostInFlight([call(0, null), call(9_000, 9_100)], whole)).toBe(2);
  });

  it('counts what reaches into the period, and nothing else', () => {
    const calls = [call(0, 600), call(0, 400), call(400, 700)];
    expect(mostInFlight(calls, { fromMs: 500, toMs: 1_000 })).toBe(2);
    expect(mostInFlight(calls, { fromMs: 700, toMs: 1_000 })).toBe(0);
  });
});

describe('meanInFlight()', () => {
  it('is the time of the calls over the time of the periods', () => {
    const calls = [call(0, 1_000), call(0, 500), call(2_500, null)];
    expect(meanInFlight(calls, [{ fromMs: 0, toMs: 1_000 }])).toBe(1.5);
    expect(
      meanInFlight(calls, [
        { fromMs: 0, toMs: 1_000 },
        { fromMs: 2_000, toMs: 3_000 },
      ]),
    ).toBe(1);
  });

  it('is null without a period', () => {
    expect(meanInFlight([call(0, 1)], [])).toBeNull();
  });
});

describe('secondsUntilPlaces()', () => {
  const calls = [call(-50, 100), call(-50, 200), call(150, 250), call(600, 800), call(700, 900)];

  it('is the last time at which a lowered number was still exceeded', () => {
    expect(secondsUntilPlaces(calls, { fromMs: 0, toMs: 650 }, { from: 2, to: 1 })).toBe(0.2);
    expect(secondsUntilPlaces(calls, { fromMs: 0, toMs: 650 }, { from: 3, to: 2 })).toBe(0);
  });

  it('is the first time at which a raised number was used', () => {
    const after = { fromMs: 300, toMs: 1_000 };
    expect(secondsUntilPlaces(calls, after, { from: 1, to: 2 })).toBe(0.4);
    expect(secondsUntilPlaces(calls, after, { from: 2, to: 3 })).toBe(Number.POSITIVE_INFINITY);
  });
});
