import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import {
  answerClaim,
  changeRecord,
  createQueueState,
  giveBack,
  isHungry,
  noteReady,
  passGate,
  planClaim,
  type QueueState,
  secondsUntilOpen,
} from '../../src/dispatch/queue-state.ts';
import { availableTokens } from '../../src/policy/rate.ts';
import type { QueueClaim } from '../../src/store/claim.ts';
import { queueRecord } from '../support/queue-record.ts';

const BURST = 12;
const CONCURRENCY = 7;

/** What may happen to a queue, in any order; a rate of 0 makes every token countable. */
type Event =
  | { kind: 'enqueue'; rank: number; isLate: boolean }
  | { kind: 'plan'; slots: number }
  | { kind: 'answer' }
  | { kind: 'fail' }
  | { kind: 'finish' };

const event: fc.Arbitrary<Event> = fc.oneof(
  fc.record({
    kind: fc.constant('enqueue' as const),
    rank: fc.integer({ min: -2, max: 2 }),
    isLate: fc.boolean(),
  }),
  fc.record({ kind: fc.constant('plan' as const), slots: fc.integer({ min: 0, max: 5 }) }),
  fc.constant({ kind: 'answer' as const }),
  fc.constant({ kind: 'fail' as const }),
  fc.constant({ kind: 'finish' as const }),
);

interface Row {
  rank: number;
  seq: string;
  body: Uint8Array;
}

/** The table of ready tasks and one claim at a time, as Postgres and the claimer would have them. */
function createWorld() {
  const rateLimits = {
    maxDispatchesPerSecond: 0,
    maxBurstSize: BURST,
    maxConcurrentDispatches: CONCURRENCY,
  };
  const state = createQueueState(queueRecord({}, rateLimits), 0);
  let ready: Row[] = [];
  let sent: { claim: QueueClaim; seen: Row[] } | null = null;
  let running = 0;
  let dispatched = 0;
  let nextSeq = 100n;
  let lateSeq = 99n;

  function pick({ claim, seen }: { claim: QueueClaim; seen: Row[] }): Row[] {
    const afterOf = new Map(claim.cursors.map((c) => [c.rank, BigInt(c.afterSeq)]));
    return seen
      .filter((row) => BigInt(row.seq) > (afterOf.get(row.rank) ?? 10_000n))
      .sort((a, b) => a.rank - b.rank || Number(BigInt(a.seq) - BigInt(b.seq)))
      .slice(0, claim.limit);
  }

  const steps: Record<Event['kind'], (event: never) => void> = {
    enqueue({ rank, isLate }: Extract<Event, { kind: 'enqueue' }>) {
      const seq = isLate ? lateSeq-- : nextSeq++;
      ready.push({ rank, seq: String(seq), body: Buffer.alloc(200) });
      noteReady(state, rank, seq);
    },
    plan({ slots }: Extract<Event, { kind: 'plan' }>) {
      if (sent !== null || !isHungry(state, 0)) return;
      const claim = planClaim(state, slots, 0);
      if (claim !== null) sent = { claim, seen: [...ready] };
    },
    answer() {
      if (sent === null) return;
      const taken = pick(sent);
      ready = ready.filter((row) => !taken.includes(row));
      answerClaim(state, sent.claim, { taken, emptied: emptiedBy(taken, sent.seen) }, 0);
      running += taken.length;
      dispatched += taken.length;
      sent = null;
    },
    fail() {
      if (sent !== null) giveBack(state, sent.claim.limit, 0);
      sent = null;
    },
    finish() {
      if (running === 0) return;
      running -= 1;
      state.inFlight -= 1;
    },
  };

  return {
    state,
    apply: (each: Event) => steps[each.kind](each as never),
    look: () => ({ ready, promised: sent?.claim.limit ?? 0, running, dispatched, isSent: !!sent }),
  };
}

/** As claimTasks tells it. */
function emptiedBy(taken: Row[], seen: Row[]): number | undefined {
  const last = taken.at(-1);
  const isAfter = (row: Row) => row.rank === last?.rank && BigInt(row.seq) > BigInt(last.seq);
  return seen.some(isAfter) ? undefined : last?.rank;
}

function isCovered(state: QueueState, { rank, seq }: Row): boolean {
  const after = state.cursors.get(rank);
  return after !== undefined && after < BigInt(seq);
}

describe('queue state', () => {
  test('tokens and places in flight never leak, whatever happens in whatever order', () => {
    fc.assert(
      fc.property(fc.array(event, { maxLength: 120 }), (events) => {
        const world = createWorld();
        for (const each of events) {
          world.apply(each);
          const { promised, running, dispatched } = world.look();
          expect(world.state.inFlight).toBe(running + promised);
          expect(world.state.inFlight).toBeLessThanOrEqual(CONCURRENCY);
          expect(availableTokens(world.state.bucket, 0)).toBe(BURST - dispatched - promised);
        }
      }),
      { numRuns: 500 },
    );
  });

  test('between claims every ready task that was told lies past a cursor', () => {
    fc.assert(
      fc.property(fc.array(event, { maxLength: 120 }), (events) => {
        const world = createWorld();
        for (const each of events) {
          world.apply(each);
          const { ready, isSent } = world.look();
          if (!isSent) for (const row of ready) expect(isCovered(world.state, row)).toBe(true);
        }
      }),
      { numRuns: 500 },
    );
  });

  test('planClaim() asks for ranks best first and for no more than slots, tokens and concurrency', () => {
    const state = createQueueState(
      queueRecord({}, { maxBurstSize: 10, maxConcurrentDispatches: 4 }),
      0,
    );
    for (const [rank, seq] of [
      [3, 7n],
      [-1000, 9n],
      [0, 8n],
    ] as const)
      noteReady(state, rank, seq);
    const claim = planClaim(state, 100, 0)!;
    expect(claim.limit).toBe(4);
    expect(claim.cursors).toEqual([
      { rank: -1000, afterSeq: '8' },
      { rank: 0, afterSeq: '7' },
      { rank: 3, afterSeq: '6' },
    ]);
    expect(planClaim(state, 100, 0)).toBeNull();
  });

  test('answerClaim() is dry only when the claim brought less than it asked for', () => {
    const state = createQueueState(queueRecord(), 0);
    noteReady(state, 0, 1n);
    const full = planClaim(state, 2, 0)!;
    answerClaim(state, full, { taken: rows(1, 2) }, 0);
    expect(isHungry(state, 0)).toBe(true);
    expect(state.cursors.get(0)).toBe(2n);
    const short = planClaim(state, 2, 0)!;
    answerClaim(state, short, { taken: rows(3) }, 0);
    expect(isHungry(state, 0)).toBe(false);
  });

  test('answerClaim() has no more of the ranks up to the one that the claim emptied', () => {
    const state = createQueueState(queueRecord(), 0);
    for (const rank of [-5, 0, 5]) noteReady(state, rank, 1n);
    const claim = planClaim(state, 2, 0)!;
    answerClaim(state, claim, { taken: rows(1, 2), emptied: 0 }, 0);
    expect([...state.cursors.keys()]).toEqual([5]);
    const last = planClaim(state, 2, 0)!;
    noteReady(state, 5, 9n);
    answerClaim(state, last, { taken: rows(1, 2), emptied: 5 }, 0);
    expect([...state.cursors]).toEqual([[5, 8n]]);
  });

  test('answerClaim() rewinds to what was told while the claim was under way', () => {
    const state = createQueueState(queueRecord(), 0);
    noteReady(state, 0, 50n);
    const claim = planClaim(state, 2, 0)!;
    noteReady(state, 0, 40n);
    noteReady(state, 7, 41n);
    answerClaim(state, claim, { taken: rows(50) }, 0);
    expect([...state.cursors]).toEqual([
      [0, 39n],
      [7, 40n],
    ]);
  });

  test('changeRecord() is in force for the next claim, with the level kept', () => {
    const state = createQueueState(queueRecord({}, { maxBurstSize: 10 }), 0);
    noteReady(state, 0, 1n);
    planClaim(state, 4, 0);
    changeRecord(state, queueRecord({ version: 2 }, { maxBurstSize: 5 }), 0);
    expect(planClaim(state, 100, 0)).toMatchObject({ version: 2, limit: 5 });
  });

  test('isHungry() is false while the queue is paused or being purged', () => {
    for (const closed of [{ paused: true }, { isPurging: true }]) {
      const state = createQueueState(queueRecord(closed), 0);
      noteReady(state, 0, 1n);
      expect(isHungry(state, 0)).toBe(false);
    }
  });

  test('passGate() lets no more through than burst and rate, however full the bucket is', () => {
    const limits = { maxDispatchesPerSecond: 4, maxBurstSize: 2 };
    const state = createQueueState(queueRecord({}, limits), 0, { foreign: 0, tokens: 1 });
    expect(passGate(state, 0)).toBe(0);
    expect(passGate(state, 0)).toBe(0.25);
    expect(passGate(state, 250)).toBe(0);
    expect(passGate(state, 250)).toBe(0.25);
  });

  test('planClaim() leaves places to calls of the owner before', () => {
    const record = queueRecord({}, { maxConcurrentDispatches: 2 });
    const state = createQueueState(record, 0, { foreign: 2 });
    noteReady(state, 0, 1n);
    expect(planClaim(state, 10, 0)).toBeNull();
    state.foreign = 1;
    expect(planClaim(state, 10, 0)).toMatchObject({ limit: 1 });
  });

  test('secondsUntilOpen() tells when the rate lets the next one through', () => {
    const limits = { maxDispatchesPerSecond: 4, maxBurstSize: 1 };
    const state = createQueueState(queueRecord({}, limits), 0);
    noteReady(state, 0, 1n);
    expect(secondsUntilOpen(state, 0)).toBe(0);
    planClaim(state, 1, 0);
    expect(secondsUntilOpen(state, 0)).toBe(0.25);
    expect(planClaim(state, 1, 249)).toBeNull();
    expect(planClaim(state, 1, 250)).not.toBeNull();
  });
});

function rows(...seqs: number[]): Row[] {
  return seqs.map((seq) => ({ rank: 0, seq: String(seq), body: Buffer.alloc(200) }));
}
