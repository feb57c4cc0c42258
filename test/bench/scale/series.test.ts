import { expect, it } from 'vitest';
import { drawSeries } from '../../../bench/scale/chart.ts';
import { compact, verdict } from '../../../bench/scale/report.ts';
import { powersOfTen, type Series, shareOfIdeal } from '../../../bench/scale/series.ts';

function seriesOf(ideal: Series['ideal'], rates: number[], isLogarithmic = false): Series {
  const points = rates.map((tasksPerSecond, index) => {
    const x = isLogarithmic ? 10 ** index : index + 1;
    return { x, tasksPerSecond, p99Ms: 5, busyShare: 1 };
  });
  return { title: 'Some', unit: 'things', isLogarithmic, ideal, points };
}

it('shareOfIdeal() expects the first rate again, or that times the size', () => {
  const flat = seriesOf('flat', [1000, 900]);
  expect(shareOfIdeal(flat, flat.points[1]!)).toBeCloseTo(0.9);
  const linear = seriesOf('linear', [1000, 1800]);
  expect(shareOfIdeal(linear, linear.points[1]!)).toBeCloseTo(0.9);
});

it('verdict() names the ideal from 0.95 of it on, and else the lowest share', () => {
  expect(verdict(seriesOf('flat', [1000, 950, 1200]))).toBe('flat');
  expect(verdict(seriesOf('flat', [1000, 940, 1200]))).toBe('down to 0.94 of flat');
});

it('powersOfTen() ends at the largest that is asked for', () => {
  expect(powersOfTen(3, 7, 1e5)).toEqual([1e3, 1e4, 1e5]);
});

it('compact() writes powers of ten from 1,000 on, and one digit of a fraction', () => {
  expect([1, 0.2, 256, 1e3, 1e7].map(compact)).toEqual(['1', '0.2', '256', '1e3', '1e7']);
});

it.each([true, false])(
  'drawSeries() draws every point where it can be seen (logarithmic: %s)',
  (log) => {
    const svg = drawSeries([
      seriesOf('flat', [10_000, 9_000, 11_000], log),
      seriesOf('linear', [1]),
    ]);
    expect(svg.match(/<circle/g)).toHaveLength(8);
    expect(svg).not.toMatch(/NaN|Infinity|undefined/);
  },
);
