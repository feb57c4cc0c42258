import { describe, expect, it } from 'vitest';
import {
  type LimitChange,
  largestIn,
  phasesOf,
  stretchesUnder,
} from '../../../bench/limits/phases.ts';

const whole = { fromMs: 0, toMs: 20_000 };
const changes: LimitChange[] = [
  { queue: 'q', from: 50, to: 20, sentMs: 5_000, answeredMs: 5_010 },
  { queue: 'q', from: 20, to: 50, sentMs: 11_000, answeredMs: 11_020 },
];

describe('phasesOf()', () => {
  it('is one phase without a change', () => {
    expect(phasesOf(50, [], whole)).toEqual([{ limit: 50, possible: whole, certain: whole }]);
  });

  it('lets a limit begin for certain a second after its answer, and last as long', () => {
    expect(phasesOf(50, changes, whole)[1]).toEqual({
      limit: 20,
      possible: { fromMs: 5_000, toMs: 12_020 },
      certain: { fromMs: 6_010, toMs: 11_000 },
    });
  });
});

describe('stretchesUnder()', () => {
  const phases = phasesOf(50, changes, whole);

  it('judges by the lowered limit only where the larger one is out of force', () => {
    expect(stretchesUnder(20, phases, whole)).toEqual([{ fromMs: 6_010, toMs: 11_000 }]);
  });

  it('judges everything by the largest', () => {
    expect(stretchesUnder(50, phases, whole)).toEqual([whole]);
  });
});

describe('largestIn()', () => {
  it.each([
    [{ fromMs: 5_500, toMs: 6_500 }, 50],
    [{ fromMs: 6_500, toMs: 7_500 }, 20],
    [{ fromMs: 10_500, toMs: 11_500 }, 50],
  ])('in %o is %d', (period, limit) => {
    expect(largestIn(period, phasesOf(50, changes, whole))).toBe(limit);
  });
});
