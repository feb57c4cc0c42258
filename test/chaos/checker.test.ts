import { describe, expect, it } from 'vitest';
import { judge } from './checker.ts';
import type { Sent } from './load.ts';
import type { Arrival } from './target.ts';

const sent = (token: number, fields: Partial<Sent> = {}): Sent => ({
  token,
  fate: 'succeeds',
  state: 'acknowledged',
  task: `task-${token}`,
  dueMs: 0,
  tookMs: 1,
  ...fields,
});

const call = (token: number, fields: Partial<Arrival> = {}): Arrival => ({
  token,
  task: `task-${token}`,
  lease: `lease-${token}`,
  issuedAt: 0,
  atMs: 0,
  wallMs: 0,
  status: 200,
  ...fields,
});

const ended = (...tokens: number[]) =>
  new Map(tokens.map((token) => [`task-${token}`, 'succeeded']));

describe('judge()', () => {
  it('finds nothing wrong with what was delivered once, or is dead as it should be', () => {
    const finished = new Map([...ended(1), ['task-2', 'failed']]);
    const verdict = judge({
      sent: [sent(1), sent(2, { fate: 'dies' })],
      arrivals: [call(1), call(2)],
      finished,
    });
    expect(verdict).toEqual({
      acknowledged: 2,
      lost: [],
      unexpected: [],
      duplicated: 0,
      recovered: 0,
    });
  });

  it('calls lost what was acknowledged and never called, whatever its record says', () => {
    expect(judge({ sent: [sent(1)], arrivals: [], finished: ended(1) }).lost).toEqual([1]);
  });

  it('calls lost what was called and has no record, or the wrong one', () => {
    const finished = new Map([['task-2', 'failed']]);
    const evidence = { sent: [sent(1), sent(2)], arrivals: [call(1), call(2)], finished };
    expect(judge(evidence).lost).toEqual([1, 2]);
  });

  it('counts what was recovered: delivered, though nobody knew', () => {
    const evidence = { sent: [sent(1, { state: 'unknown' })], arrivals: [call(1)] };
    const verdict = judge({ ...evidence, finished: ended(1) });
    expect(verdict).toMatchObject({ acknowledged: 0, lost: [], recovered: 1 });
  });

  it('calls unexpected what was refused or never sent, and yet was called', () => {
    const evidence = { sent: [sent(1, { state: 'refused' })], finished: ended(1, 2) };
    const { unexpected } = judge({ ...evidence, arrivals: [call(1), call(2)] });
    expect(unexpected).toEqual([
      'task 1 was called, though it was refused',
      'task 2 was called, though it was never sent',
    ]);
  });

  it('calls unexpected two tasks of one enqueue, and a lease that was used twice', () => {
    const arrivals = [call(1), call(1, { task: 'task-9' })];
    const { unexpected } = judge({ sent: [sent(1)], arrivals, finished: ended(1) });
    expect(unexpected).toEqual([
      'the enqueue of 1 made two tasks',
      'the lease lease-1 of 1 was used twice',
    ]);
  });

  it('counts as duplicated each further call, but not one that the target asked for', () => {
    const arrivals = [
      call(1, { lease: 'a' }),
      call(1, { lease: 'b' }),
      call(2, { lease: 'c', status: 500 }),
      call(2, { lease: 'd' }),
      call(3, { lease: 'e', status: null }),
      call(3, { lease: 'f' }),
    ];
    const evidence = { sent: [sent(1), sent(2), sent(3)], finished: ended(1, 2, 3) };
    expect(judge({ ...evidence, arrivals }).duplicated).toBe(2);
  });
});
