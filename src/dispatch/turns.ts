import { isHungry, type QueueState } from './queue-state.ts';
import { createSlotSharing, type SharingStrategy } from './slot-sharing.ts';

export interface Turns {
  /** Takes the queue in when it may have something to claim and is open, else out. */
  feed(state: QueueState): void;
  /** Takes it out when there is nothing more to claim; never in, for it may be forgotten by now. */
  review(state: QueueState): void;
  forget(state: QueueState): void;
  isEmpty(): boolean;
  /** Whose turn it is, and the slots for each that gets some. */
  take(slots: number, nowMs: number): { turn: QueueState[]; shares: Share[] };
  /** This queue could not ask for what it was given: as if it had not been in the round. */
  excuse(state: QueueState): void;
}

export interface Share {
  state: QueueState;
  slots: number;
}

/** Queues looked at in one turn; with thousands of them, looking at all after every call is dear. */
const MAX_TURN = 1_024;

/** The queues that may have something to claim, in the order of their turns. */
export function createTurns(options: {
  strategy: SharingStrategy;
  databaseNow: () => number;
}): Turns {
  const hungry = new Set<QueueState>();
  const sharing = createSlotSharing(options.strategy);
  const most = options.strategy === 'weighted' ? MAX_TURN : Number.POSITIVE_INFINITY;

  /** Those that were looked at go to the end, served or not. */
  function nextTurn(): QueueState[] {
    const databaseNow = options.databaseNow();
    const turn: QueueState[] = [];
    for (const state of hungry) {
      if (isHungry(state, databaseNow)) turn.push(state);
      if (turn.length >= most) break;
    }
    if (turn.length < hungry.size) {
      for (const state of turn) hungry.delete(state);
      for (const state of turn) hungry.add(state);
    }
    return turn;
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
    take(slots, nowMs) {
      const turn = nextTurn();
      return { turn, shares: sharing.share(turn, slots, nowMs) };
    },
    excuse: sharing.excuse,
  };
}
