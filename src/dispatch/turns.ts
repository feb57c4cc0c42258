import type { Slots } from './attempts.ts';
import { isHungry, type QueueState, wantsOf } from './queue-state.ts';
import { createSlotSharing, type SharingStrategy } from './slot-sharing.ts';

export interface Turns {
  /** Takes the queue in when it may have something to claim and is open, else out. */
  feed(state: QueueState): void;
  /** Takes it out when there is nothing more to claim; never in, for it may be forgotten by now. */
  review(state: QueueState): void;
  forget(state: QueueState): void;
  /** True when no queue wants to be claimed from, or only such whose shards can't be claimed from now. */
  isIdle(): boolean;
  /** True while queues of different weights wait for their turns. */
  isUneven(): boolean;
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
 * With more queues than this, or on more shards than claims may be under way, a turn is that of a few
 * shards, so that a claim brings many tasks instead of one or two: 64 queues on as many shards were
 * dispatched at a fifteenth of the rate of one. Weights then hold among the queues of a turn, so where
 * they differ all queues have a turn, as long as they are not too many.
 */
const MAX_TURN = 256;

/** A queue's place in the order, and the weight that was counted for it. */
interface Entry {
  place: number;
  weight: number;
}

/** The queues that may have something to claim, in the order of their turns. */
export function createTurns(options: {
  slots: Pick<Slots, 'roomOf'>;
  strategy: SharingStrategy;
  databaseNow: () => number;
  canClaim: (shard: number) => boolean;
}): Turns {
  const shards = new Map<number, Map<QueueState, Entry>>();
  // Weight → how many of the queues have it.
  const weights = new Map<number, number>();
  const sharing = createSlotSharing(options.strategy, options.slots.roomOf);
  const isWeighted = options.strategy === 'weighted';
  let count = 0;
  let places = 0;

  function add(state: QueueState): void {
    const { shard, settings } = state.record;
    const hungry = shards.get(shard) ?? new Map<QueueState, Entry>();
    if (hungry.get(state)?.weight === settings.weight) return;
    remove(state);
    shards.set(shard, hungry);
    hungry.set(state, { place: places++, weight: settings.weight });
    countWeight(settings.weight, 1);
  }

  function remove(state: QueueState): void {
    const hungry = shards.get(state.record.shard);
    const entry = hungry?.get(state);
    if (hungry === undefined || entry === undefined) return;
    hungry.delete(state);
    countWeight(entry.weight, -1);
    if (hungry.size === 0) shards.delete(state.record.shard);
  }

  function countWeight(weight: number, difference: number): void {
    count += difference;
    const left = (weights.get(weight) ?? 0) + difference;
    if (left === 0) weights.delete(weight);
    else weights.set(weight, left);
  }

  function nextTurn(claims: number, nowMs: number): QueueState[] {
    const databaseNow = options.databaseNow();
    const isMany = count > MAX_TURN || (shards.size > claims && weights.size === 1);
    const isByShard = isWeighted && isMany;
    const turn = (isByShard ? longestWaiting(claims, nowMs) : inOrder()).filter((state) => {
      const isReady = isHungry(state, databaseNow);
      // Whatever opens a queue again feeds it.
      if (!isReady) remove(state);
      return isReady;
    });
    // Those that were looked at, served or not, wait until all others had their turn.
    if (isByShard) for (const state of turn) remove(state);
    if (isByShard) for (const state of turn) add(state);
    return turn;
  }

  function inOrder(): QueueState[] {
    const entries = [...shards.values()].flatMap((hungry) => [...hungry]);
    return entries.sort(([, one], [, other]) => one.place - other.place).map(([state]) => state);
  }

  /**
   * Of the shards whose first queues have waited longest, as far as a claim may be sent to them. Queues that
   * are at a limit come along: whoever takes the turn has to know when they are not any more.
   */
  function longestWaiting(claims: number, nowMs: number): QueueState[] {
    const turn: QueueState[] = [];
    let [left, able] = [claims, 0];
    for (const shard of claimableShards()) {
      const before = able;
      for (const state of shards.get(shard)!.keys()) {
        if (able === MAX_TURN) return turn;
        if (wantsOf(state, nowMs) > 0) able += 1;
        turn.push(state);
      }
      if (able > before) left -= 1;
      if (left === 0) return turn;
    }
    return turn;
  }

  function claimableShards(): number[] {
    return [...shards]
      .filter(([shard]) => options.canClaim(shard))
      .map(([shard, hungry]) => ({ shard, place: hungry.values().next().value!.place }))
      .sort((one, other) => one.place - other.place)
      .map(({ shard }) => shard);
  }

  return {
    feed(state) {
      if (isHungry(state, options.databaseNow())) add(state);
      else remove(state);
    },
    review(state) {
      if (!isHungry(state, options.databaseNow())) remove(state);
    },
    forget(state) {
      remove(state);
      sharing.forget(state);
    },
    isIdle: () => ![...shards.keys()].some(options.canClaim),
    isUneven: () => weights.size > 1,
    take(slots, claims, nowMs) {
      const turn = nextTurn(claims, nowMs);
      return { turn, shares: sharing.share(turn, slots, nowMs) };
    },
    excuse: sharing.excuse,
  };
}
