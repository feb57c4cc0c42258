import { describe, expect, it } from 'vitest';
import { quantile } from '../../examples/demo/probe.ts';
import { compare, isEqual, renderDifference } from '../../examples/demo/report.ts';

const STRAIGHT = { 'a/1': 'x', 'a/2': 'y', 'b/1': 'z' };
const A = { directory: 'a', checksums: { 'a/1': 'x', 'a/2': 'y' } };
const B = { directory: 'b', checksums: { 'b/1': 'z' } };
const NONE = { missing: [], unexpected: [], changed: [], countedTwice: [] };

describe('compare()', () => {
  it('finds nothing where both are equal, in whatever order', () => {
    expect(compare([B, A], STRAIGHT)).toEqual(NONE);
    expect(isEqual(compare([B, A], STRAIGHT))).toBe(true);
  });

  it.each([
    ['a missing directory', [A], { missing: ['b/1'] }],
    ['a missing file', [A, { ...B, checksums: {} }], { missing: ['b/1'] }],
    [
      'an unexpected file',
      [A, B, { directory: 'c', checksums: { 'c/1': 'x' } }],
      { unexpected: ['c/1'] },
    ],
    ['another checksum', [A, { ...B, checksums: { 'b/1': 'other' } }], { changed: ['b/1'] }],
    ['a directory counted twice', [A, B, A], { countedTwice: ['a'] }],
  ])('finds %s', (_, gathered, expected) => {
    const difference = compare(gathered, STRAIGHT);
    expect(difference).toEqual({ ...NONE, ...expected });
    expect(isEqual(difference)).toBe(false);
  });
});

describe('renderDifference()', () => {
  it('names ten paths of a kind, and counts the rest', () => {
    const missing = Array.from({ length: 12 }, (_, i) => `f${i}`);
    const lines = renderDifference({ ...NONE, missing, changed: ['g'] }).split('\n');
    expect(lines).toHaveLength(12);
    expect(lines.slice(9)).toEqual(['  missing: f9', '  missing: and 2 more', '  changed: g']);
  });
});

describe('quantile()', () => {
  it.each([
    [0.5, 50],
    [0.99, 99],
    [1, 100],
    [0, 1],
  ])('of 1 … 100 at %d is %d', (share, expected) => {
    const values = Array.from({ length: 100 }, (_, i) => i + 1);
    expect(quantile(values, share)).toBe(expected);
  });
});
