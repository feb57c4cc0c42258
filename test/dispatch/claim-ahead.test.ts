import { beforeEach, describe, expect, test } from 'vitest';
import { type ClaimAhead, createClaimAhead } from '../../src/dispatch/claim-ahead.ts';

let nowMs: number;
let ahead: ClaimAhead;

beforeEach(() => {
  nowMs = 1_000;
  ahead = createClaimAhead(() => nowMs, 512);
});

function note(calls: number): void {
  for (let call = 0; call < calls; call += 1) ahead.note();
}

describe('createClaimAhead()', () => {
  test('most() is 0 before anything was called', () => {
    expect(ahead.most()).toBe(0);
    nowMs += 10_000;
    expect(ahead.most()).toBe(0);
  });

  test('most() is as many as ended in these 40 ms, or in the 40 ms before', () => {
    note(7);
    expect(ahead.most()).toBe(7);
    nowMs += 40;
    expect(ahead.most()).toBe(7);
    note(3);
    expect(ahead.most()).toBe(7);
    note(9);
    expect(ahead.most()).toBe(12);
    nowMs += 40;
    expect(ahead.most()).toBe(12);
    nowMs += 40;
    expect(ahead.most()).toBe(0);
  });

  test('most() forgets what ended longer ago, so that an idle queue is claimed as it comes', () => {
    note(100);
    nowMs += 79;
    expect(ahead.most()).toBe(100);
    nowMs += 40;
    expect(ahead.most()).toBe(0);
    note(100);
    nowMs += 80;
    expect(ahead.most()).toBe(0);
    note(1);
    expect(ahead.most()).toBe(1);
  });

  test('most() reaches as far as two claims take, up to 200 ms', () => {
    note(100);
    for (let claim = 0; claim < 100; claim += 1) ahead.noteClaim(15);
    expect(ahead.most()).toBe(100);
    for (let claim = 0; claim < 100; claim += 1) ahead.noteClaim(50);
    expect(ahead.most()).toBeGreaterThanOrEqual(245);
    expect(ahead.most()).toBeLessThanOrEqual(250);
    for (let claim = 0; claim < 100; claim += 1) ahead.noteClaim(1_000);
    expect(ahead.most()).toBe(500);
  });

  test('most() is its limit at most', () => {
    note(10_000);
    expect(ahead.most()).toBe(512);
  });
});
