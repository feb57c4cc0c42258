import { describe, expect, it } from 'vitest';
import type { Course } from '../../../bench/limits/disturbances.ts';
import { judgeQueue, judgeStaleCalls } from '../../../bench/limits/judgement.ts';
import type { LimitChange } from '../../../bench/limits/phases.ts';
import type { Arrival } from '../../../bench/limits/sighting.ts';

const whole = { fromMs: 0, toMs: 20_000 };

describe('judgeQueue()', () => {
  it('keeps a queue that goes at its rate, and tells how much of it was used', () => {
    const [finding] = judge('rate', paced('rate', 20, whole));
    expect(finding).toMatchObject({ verdict: 'kept' });
    expect(finding!.windows!['1']).toEqual({ most: 51, allowed: 66 });
    expect(finding!.used).toBeCloseTo(1);
  });

  it('finds a bunch of calls in a short window', () => {
    const bunch = Array.from({ length: 30 }, (_, index) => call('rate', 7_000 + index));
    const [finding] = judge('rate', [...paced('rate', 20, whole), ...bunch]);
    expect(finding).toMatchObject({ verdict: 'EXCEEDED', worst: '36 in 0.1 s', allowed: '21' });
  });

  it('finds a rate that is not used up', () => {
    expect(judge('rate', paced('rate', 25, whole))[0]).toMatchObject({ verdict: 'UNDERUSED' });
  });

  it('judges by the new rate from a second after the answer on', () => {
    const changes = [change('rate', 50, 20, 8_000), change('rate', 20, 50, 14_000)];
    const inTime = [
      ...paced('rate', 20, { fromMs: 0, toMs: 8_500 }),
      ...paced('rate', 50, { fromMs: 8_500, toMs: 14_000 }),
      ...paced('rate', 20, { fromMs: 14_000, toMs: 20_000 }),
    ];
    expect(judge('rate', inTime, changes).map(({ verdict }) => verdict)).toEqual(
      Array.from({ length: 4 }, () => 'kept'),
    );
    const findings = judge('rate', paced('rate', 20, whole), changes);
    expect(findings.filter(({ verdict }) => verdict === 'EXCEEDED')).toMatchObject([
      { limit: 'rate: 20/s, burst 10' },
      { limit: 'PATCH rate 50 → 20: seen at the target' },
    ]);
  });

  it('finds more calls at once than a lowered number of places', () => {
    const changes = [change('concurrency', 7, 3, 8_000), change('concurrency', 3, 7, 14_000)];
    const calls = Array.from({ length: 7 }, () => call('concurrency', 100, 13_000));
    const findings = judge('concurrency', calls, changes);
    expect(findings[0]).toMatchObject({ verdict: 'kept', worst: '7 at once' });
    expect(findings[1]).toMatchObject({ verdict: 'EXCEEDED', allowed: '3' });
  });

  it('judges each flow key by itself', () => {
    const keys = ['a', 'b', 'c', 'd', 'long1', 'long2'];
    const calls = keys.flatMap((key) => paced('flow', 100, whole, key));
    expect(judge('flow', calls)[0]).toMatchObject({ verdict: 'kept' });
    const bunch = Array.from({ length: 8 }, (_, index) => call('flow', 5_001 + index, null, 'b'));
    expect(judge('flow', [...calls, ...bunch]).map(({ verdict }) => verdict)).toEqual([
      'EXCEEDED',
      'EXCEEDED',
    ]);
  });
});

describe('judgeStaleCalls()', () => {
  it('counts a call whose attempt is not above the one before', () => {
    const again = (attempt: number) => ({ ...call('rate', 50), task: 'same', attempt });
    const figures = judgeQueue(
      'rate',
      sightingOf([again(1), again(2), again(2), again(1)]),
      courseOf([]),
    );
    expect(figures).toMatchObject({ repeats: 3, staleRepeats: 2 });
    expect(judgeStaleCalls({ rate: figures }).verdict).toBe('EXCEEDED');
  });
});

function judge(queue: string, calls: Arrival[], changes: LimitChange[] = []) {
  const sorted = calls.toSorted((a, b) => a.atMs - b.atMs);
  return judgeQueue(queue, sightingOf(sorted), courseOf(changes)).findings;
}

function courseOf(changes: LimitChange[]): Course {
  return { whole, steady: [whole], disturbances: [], changes };
}

function sightingOf(arrivals: Arrival[]) {
  return { arrivals, nowMs: 0, longestStallMs: 0 };
}

function change(queue: string, from: number, to: number, sentMs: number): LimitChange {
  return { queue, from, to, sentMs, answeredMs: sentMs + 10 };
}

/** Short calls at this distance. */
function paced(queue: string, everyMs: number, { fromMs, toMs }: typeof whole, key = '') {
  const count = Math.ceil((toMs - fromMs) / everyMs);
  return Array.from({ length: count }, (_, index) => {
    const atMs = fromMs + index * everyMs;
    return call(queue, atMs, atMs + 15, key);
  });
}

let tasks = 0;

function call(queue: string, atMs: number, endedMs: number | null = atMs + 15, key = ''): Arrival {
  tasks += 1;
  return { queue, key, atMs, endedMs, task: String(tasks), attempt: 1 };
}
