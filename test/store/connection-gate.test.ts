import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { type ConnectionGate, createConnectionGate } from '../../src/store/connection-gate.ts';

const BURST = 3;
const isWanted = () => true;

let gate: ConnectionGate;
let passed: number;

beforeEach(() => {
  vi.useFakeTimers();
  gate = createConnectionGate({ burst: BURST, random: () => 0.5 });
  passed = 0;
});

afterEach(() => {
  vi.useRealTimers();
});

function knock(count: number): void {
  for (let index = 0; index < count; index += 1) {
    void gate.pass(isWanted).then((mayTry) => {
      passed += Number(mayTry);
    });
  }
}

describe('createConnectionGate()', () => {
  it('lets so many through at once, then at most five a second', async () => {
    knock(50);
    await vi.advanceTimersByTimeAsync(0);
    expect(passed).toBe(BURST);
    await vi.advanceTimersByTimeAsync(5_000);
    expect(passed).toBeGreaterThan(BURST + 15);
    expect(passed).toBeLessThanOrEqual(BURST + 25);
  });

  it('lets two more through for each that was let in', async () => {
    knock(3 * BURST);
    await vi.advanceTimersByTimeAsync(0);
    gate.open();
    await vi.advanceTimersByTimeAsync(0);
    expect(passed).toBe(BURST + 2);
    gate.open();
    await vi.advanceTimersByTimeAsync(0);
    expect(passed).toBe(BURST + 4);
  });

  it('lets none through at once after one was not let in', async () => {
    gate.shut();
    knock(BURST);
    await vi.advanceTimersByTimeAsync(100);
    expect(passed).toBe(0);
    await vi.advanceTimersByTimeAsync(900);
    expect(passed).toBeGreaterThan(0);
    expect(passed).toBeLessThanOrEqual(5);
  });

  it('spends nothing on what is not wanted any more', async () => {
    knock(BURST);
    const late = [false, false, false].map((wanted) => gate.pass(() => wanted));
    knock(1);
    await vi.advanceTimersByTimeAsync(600);
    expect(await Promise.all(late)).toEqual([false, false, false]);
    expect(passed).toBe(BURST + 1);
  });

  it('is at rest when nobody waits', async () => {
    knock(BURST + 1);
    await vi.advanceTimersByTimeAsync(1_000);
    expect(vi.getTimerCount()).toBe(0);
  });
});
