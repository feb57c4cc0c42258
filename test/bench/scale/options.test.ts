import { describe, expect, it } from 'vitest';
import { largestThatFits, readOptions, SECTIONS } from '../../../bench/scale/options.ts';

describe('readOptions()', () => {
  it('runs every section at full size when nothing is said', () => {
    expect(readOptions([])).toMatchObject({ sections: SECTIONS, largest: 1e7, minutes: 10 });
  });

  it('keeps its own order of sections', () => {
    expect(readOptions(['--only', 'queues,backlog']).sections).toEqual(['backlog', 'queues']);
  });

  it.each([
    [['--only', 'queue'], /--only takes some of .*, got queue/],
    [['--largest', '10.5'], /--largest must be an integer from 1000, got 10.5/],
    [['--largest', '10'], /--largest must be a number from 1000, got 10/],
    [['--minutes', 'ten'], /--minutes must be a number from 0.5, got ten/],
  ])('refuses %j', (args, message) => {
    expect(() => readOptions(args)).toThrow(message);
  });
});

describe('largestThatFits()', () => {
  it('takes all of it where there is room', () => {
    expect(largestThatFits(1e7, 100e9)).toBe(1e7);
  });

  it('goes down by powers of ten, and no lower than 1,000', () => {
    expect(largestThatFits(1e7, 10e9)).toBe(1e6);
    expect(largestThatFits(1e7, 0)).toBe(1e3);
  });
});
