import { isHungry, type QueueState } from './queue-state.ts';
import { createSlotSharing, type SharingStrategy } from './slot-sharing.ts';

export interface Turns {
  /** Takes the queue in when it may have something to claim and is open, else out. */
  feed(state: QueueState): void;
  /** Takes it out when there is nothing more to claim; never in, for it may be forgotten by now. */
  review(state: QueueState): void;
  forget(state: QueueState): void;
  isEmpty(): boolean;
  /** Whose turn it is, and the slots for each that gets some. `shards` = claims that may be sent. */
  take(slots: number, shards: number, nowMs: number): { turn: QueueState[]; shares: Share[] };
  /** This queue could not ask for what it was given: as if it had not been in the round. */
  excuse(state: QueueState): void;
}

export interface Share {
  state: QueueState;
  slots: number;
}

/**
 * With more queues than this, a turn is that of a few shards, so that a claim brings many tasks instead
 * of one or two: for 10,000 queues with a task each that took a fifth of the statements. Weights then
 * hold among the queues of a turn.
 */
const MAX_TURN = 256;

/** The queues that may have something to claim, in the order of their turns. */
export function createTurns(options: {
  strategy: SharingStrategy;
  databaseNow: () => number;
  canClaim: (shard: number) => boolean;
}): Turns {
  const hungry = new Set<QueueState>();
  const sharing = createSlotSharing(options.strategy);
  const most = options.strategy === 'weighted' ? MAX_TURN : Number.POSITIVE_INFINITY;

  function nextTurn(shards: number): QueueState[] {
    const databaseNow = options.databaseNow();
    const isByShard = hungry.size > most;
    const chosen = new Set<number>();
    const turn: QueueState[] = [];
    for (const state of hungry) {
      const { shard } = state.record;
      if (isByShard && !chosen.has(shard)) {
        if (chosen.size === shards || !options.canClaim(shard)) continue;
        chosen.add(shard);
      }
      if (isHungry(state, databaseNow)) turn.push(state);
      if (turn.length >= most) break;
    }
    if (isByShard) toTheEnd(turn);
    return turn;
  }

  /** Those that were looked at, served or not, wait until all others had their turn. */
  function toTheEnd(turn: readonly QueueState[]): void {
    for (const state of turn) hungry.delete(state);
    for (const state of turn) hungry.add(state);
  }

  return {
    feed(state) {
      if (isHungry(state, options.databaseNow())) hungry.add(state);
      else hungry.delete(state);
    },
    review(state) {
      if (!isHungry(state, options.databaseNow())) hungry.delete(state);
    },
    forget(state) {
      hungry.delete(state);
      sharing.forget(state);
    },
    isEmpty: () => hungry.size === 0,
    take(slots, shards, nowMs) {
      const turn = nextTurn(shards);
      return { turn, shares: sharing.share(turn, slots, nowMs) };
    },
    excuse: sharing.excuse,
  };
}
