import fc from 'fast-check';
import { expect, test } from 'vitest';
import {
  answerClaim,
  createQueueState,
  giveBack,
  noteReady,
  planClaim,
} from '../../src/dispatch/queue-state.ts';
import { createReservations } from '../../src/dispatch/reservations.ts';
import type { Reservation } from '../../src/model.ts';
import { availableTokens } from '../../src/policy/rate.ts';
import type { QueueClaim } from '../../src/store/claim.ts';
import { claimedTask } from '../support/claimed-task.ts';
import { queueRecord } from '../support/queue-record.ts';

const CONCURRENCY = 4;
const BURST = 6;

const KINDS = [
  'reserve',
  'take',
  'release',
  'lose',
  'endCall',
  'planClaim',
  'answerClaim',
  'failClaim',
  'foreign',
  'passTime',
] as const;
type Kind = (typeof KINDS)[number];

const steps = fc.array(fc.record({ kind: fc.constantFrom(...KINDS), which: fc.nat({ max: 9 }) }), {
  maxLength: 120,
});

/** A queue of one owner, with what is open of it counted beside. */
function createModel() {
  let nowMs = 1_000;
  let seq = 0;
  const limits = { maxConcurrentDispatches: CONCURRENCY, maxBurstSize: BURST };
  const record = queueRecord({}, { ...limits, maxDispatchesPerSecond: 10 });
  const state = createQueueState(record, nowMs);
  const open: Reservation[] = [];
  const claims: QueueClaim[] = [];
  let calls = 0;
  const reservations = createReservations({
    database: { run: () => Promise.reject(new Error('not asked')), close: async () => {} },
    ownership: {
      dispatcher: () => 1,
      shards: () => new Map([[0, { epoch: '1', takenAtMs: 0, handover: null }]]),
      isCertain: () => true,
      start: async () => {},
      check: async () => {},
      renew: async () => {},
      handOver: async () => {},
      leave: async () => {},
    },
    recovery: { recover: async () => {}, stop() {} },
    pool: 'default',
    leaseMarginSeconds: 15,
    monotonic: () => nowMs,
    databaseNow: () => nowMs,
    stateOf: () => state,
    hasRoom: () => true,
    onClaimed: () => {
      calls += 1;
    },
  });
  const some = <T>(from: T[], which: number) => from.splice(which % Math.max(1, from.length), 1)[0];
  const taken = (count: number) =>
    Array.from({ length: count }, () => claimedTask({ seq: String(++seq) }));

  const actions: Record<Kind, (which: number) => void> = {
    reserve() {
      const one = reservations.reserve({ shard: 0, queue: 1, rank: 0, flowKey: null });
      if (one !== null) open.push(one);
    },
    take: (which) => some(open, which)?.take(taken(1)[0]!),
    release: (which) => some(open, which)?.release(),
    lose: (which) => some(open, which)?.lose(),
    endCall() {
      if (calls === 0) return;
      calls -= 1;
      state.inFlight -= 1;
    },
    planClaim(which) {
      noteReady(state, 0, BigInt(++seq));
      const claim = planClaim(state, 1 + which, nowMs);
      if (claim !== null) claims.push(claim);
    },
    answerClaim(which) {
      const claim = some(claims, which);
      if (claim === undefined) return;
      const tasks = taken(Math.min(which, claim.limit));
      answerClaim(state, claim, { taken: tasks }, nowMs);
      calls += tasks.length;
    },
    failClaim: (which) => giveBack(state, some(claims, which)?.limit ?? 0, nowMs),
    foreign(which) {
      state.foreign = which % 3;
    },
    passTime(which) {
      nowMs += which * 30;
    },
  };

  return {
    state,
    step: ({ kind, which }: { kind: Kind; which: number }) => actions[kind](which),
    expected: () => calls + open.length + claims.reduce((sum, { limit }) => sum + limit, 0),
    open: () => open.length,
    endAll() {
      for (const one of open.splice(0)) one.release();
      for (const { limit } of claims.splice(0)) giveBack(state, limit, nowMs);
      state.inFlight -= calls;
    },
    tokens: () => availableTokens(state.bucket, nowMs),
    reservations,
  };
}

test('no order of reservations and claims counts a place twice, or loses one', async () => {
  await fc.assert(
    fc.asyncProperty(steps, async (all) => {
      const model = createModel();
      for (const one of all) {
        model.step(one);
        const { inFlight } = model.state;
        expect(inFlight).toBe(model.expected());
        expect(inFlight).toBeGreaterThanOrEqual(0);
        expect(inFlight).toBeLessThanOrEqual(CONCURRENCY);
        expect(model.tokens()).toBeLessThanOrEqual(BURST);
      }
      // What is lost stays open until it is found out: a few turns here.
      await new Promise(setImmediate);
      expect(model.reservations.open()).toBe(model.open());
      model.endAll();
      expect(model.state.inFlight).toBe(0);
      expect(model.reservations.open()).toBe(0);
      await model.reservations.stop();
      expect(model.reservations.reserve({ shard: 0, queue: 1, rank: 0, flowKey: null })).toBeNull();
    }),
    { numRuns: 300 },
  );
});
