import { describe, expect, test } from 'vitest';
import { createQueueState, noteReady, type QueueState } from '../../src/dispatch/queue-state.ts';
import { createTurns } from '../../src/dispatch/turns.ts';
import { queueRecord } from '../support/queue-record.ts';

const SHARDS = 8;
const MANY = 800;

function hungryQueue(id: number, settings = {}): QueueState {
  const record = queueRecord({ id, shard: id % SHARDS });
  const state = createQueueState({ ...record, settings: { ...record.settings, ...settings } }, 0);
  noteReady(state, 0, 1n);
  return state;
}

function startTurns(count: number, canClaim: (shard: number) => boolean = () => true) {
  const turns = createTurns({
    strategy: 'weighted',
    slots: { roomOf: () => 1_000 },
    databaseNow: () => 0,
    canClaim,
  });
  const states = Array.from({ length: count }, (_, id) => hungryQueue(id));
  for (const state of states) turns.feed(state);
  return { turns, states };
}

const shardsOf = (turn: QueueState[]) => new Set(turn.map(({ record }) => record.shard));

describe('turns', () => {
  test('are idle while nothing is hungry, or only on shards that can not be claimed from', () => {
    let claimable = [2];
    const { turns } = startTurns(2, (shard) => claimable.includes(shard));
    expect(turns.isIdle()).toBe(true);
    claimable = [1, 2];
    expect(turns.isIdle()).toBe(false);
  });

  test('queues on few shards are all in each turn, in the order in which they came', () => {
    const { turns, states } = startTurns(3);
    expect(turns.take(100, 3, 0).turn).toEqual(states);
    expect(turns.take(100, 3, 0).turn).toEqual(states);
  });

  test('queues of different weights are all in each turn, on however many shards', () => {
    const { turns, states } = startTurns(20);
    expect(turns.isUneven()).toBe(false);
    const heavy = hungryQueue(20, { weight: 2 });
    turns.feed(heavy);
    expect(turns.isUneven()).toBe(true);
    expect(turns.take(100, 1, 0).turn).toEqual([...states, heavy]);
    turns.forget(heavy);
    expect(turns.isUneven()).toBe(false);
    expect(shardsOf(turns.take(100, 1, 0).turn).size).toBe(1);
  });

  test('a shard of which all queues are at a limit takes no turn from another', () => {
    const { turns, states } = startTurns(20);
    for (const { record, bucket } of states) if (record.shard === 0) bucket.tokens = 0;
    for (const { bucket } of states) bucket.ratePerSecond = 0;
    const { turn, shares } = turns.take(100, 1, 0);
    expect(shardsOf(turn)).toEqual(new Set([0, 1]));
    expect(shardsOf(shares.map(({ state }) => state))).toEqual(new Set([1]));
  });

  test('many queues: a turn is that of as many shards as claims may be sent, and each has its turn', () => {
    const { turns, states } = startTurns(MANY);
    const seen = new Set<QueueState>();
    for (let round = 0; round < SHARDS / 2; round++) {
      const { turn } = turns.take(MANY, 2, 0);
      expect(shardsOf(turn).size).toBe(2);
      for (const state of turn) seen.add(state);
    }
    expect(seen).toEqual(new Set(states));
  });

  test('many queues: a shard with a claim under way is left out, and comes first after it', () => {
    let claiming = 0;
    const { turns } = startTurns(MANY, (shard) => shard !== claiming);
    for (let round = 0; round < 5; round++) {
      expect([...shardsOf(turns.take(MANY, 1, 0).turn)]).toEqual([round + 1]);
    }
    claiming = -1;
    expect([...shardsOf(turns.take(MANY, 1, 0).turn)]).toEqual([0]);
  });

  test.each([10, MANY])(
    'of %i queues: what was claimed to the end or dropped has no turn',
    (count) => {
      const { turns, states } = startTurns(count);
      states[0]!.cursors.clear();
      turns.review(states[0]!);
      states[1]!.isDropped = true;
      turns.feed(states[1]!);
      turns.forget(states[2]!);
      const seen = new Set<QueueState>();
      for (let round = 0; round < SHARDS; round++) {
        for (const state of turns.take(MANY, 1, 0).turn) seen.add(state);
      }
      expect(seen).toEqual(new Set(states.slice(3)));
      for (const state of states.slice(3)) turns.forget(state);
      expect(turns.isIdle()).toBe(true);
    },
  );
});
