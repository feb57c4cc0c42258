import { describe, expect, it } from 'vitest';
import { faultOfStep, faultOfTask } from '../../examples/demo/faults.ts';

describe('faultOfTask()', () => {
  const names = Array.from({ length: 10_000 }, (_, i) => `name-${i}`);
  const faults = names.map(faultOfTask);

  it.each([
    ['status-500', 0.04],
    ['dropped', 0.04],
    ['timeout', 0.015],
  ] as const)('is %s for a share of about %d', (fault, share) => {
    const count = faults.filter((each) => each === fault).length;
    expect(Math.abs(count / names.length - share)).toBeLessThan(0.008);
  });

  it('is the same each time', () => {
    expect(names.map(faultOfTask)).toEqual(faults);
  });
});

describe('faultOfStep()', () => {
  it('lets two steps of the walk fail', () => {
    const steps = Array.from({ length: 20 }, (_, step) => faultOfStep(step));
    expect(steps.filter((fault) => fault !== null)).toEqual(['dropped', 'status-500']);
  });
});
