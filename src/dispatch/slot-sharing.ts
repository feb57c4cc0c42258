import { type SharingQueue, shareSlots, shareStrictly } from '../policy/fairness.ts';
import { type QueueState, wantsOf } from './queue-state.ts';

/** `weighted`: slots in proportion to weights. `strict-priority`: the higher weight goes first. */
export type SharingStrategy = 'weighted' | 'strict-priority';

export interface SlotSharing {
  /** Slots for each queue that can use some now, in the order of the queues. */
  share(
    states: readonly QueueState[],
    slots: number,
    nowMs: number,
  ): { state: QueueState; slots: number }[];
  /** This queue could not ask for what it was given: as if it had not been in the round. */
  excuse(state: QueueState): void;
  forget(state: QueueState): void;
}

/** A round costs in proportion to its queues; those beyond have their turn in the next ones. */
const MIN_QUEUES_PER_ROUND = 64;
const QUEUES_PER_SLOT = 4;

/** What a queue of a round had of credit before it, and was given. */
interface Share {
  before: number;
  given: number;
  isExcused: boolean;
}

/**
 * How the free slots of a dispatcher are shared between its queues; see policy/fairness. No queue gets more
 * than `roomOf` gives it.
 */
export function createSlotSharing(
  strategy: SharingStrategy,
  roomOf: (inFlight: number) => number = () => Number.POSITIVE_INFINITY,
): SlotSharing {
  const credit = new Map<number, number>();
  let round = new Map<number, Share>();

  /**
   * The slots of an excused queue stayed free, and will be shared once more: each queue was due its part
   * of the others only. Or those that keep wanting them would gain with every round that gave them none.
   */
  function closeRound(): void {
    const shares = [...round.values()];
    if (!shares.some(({ isExcused }) => isExcused)) return;
    if (strategy === 'strict-priority') {
      for (const [id, { before, isExcused }] of round) if (isExcused) credit.set(id, before);
      return;
    }
    const slots = shares.reduce((sum, { given }) => sum + given, 0);
    const used = shares.reduce((sum, { given, isExcused }) => sum + (isExcused ? 0 : given), 0);
    for (const [id, { before, given, isExcused }] of round) {
      const part = (credit.get(id) ?? 0) + given - before;
      credit.set(id, before + (part * used) / slots - (isExcused ? 0 : given));
    }
  }

  return {
    share(states, slots, nowMs) {
      if (slots <= 0) return [];
      const most = Math.max(MIN_QUEUES_PER_ROUND, slots * QUEUES_PER_SLOT);
      closeRound();
      round = new Map();
      const known = new Map<number, QueueState>();
      const queues: (SharingQueue<number> & { queuePriority: number })[] = [];
      for (const state of states) {
        const wants = Math.min(wantsOf(state, nowMs), roomOf(state.inFlight));
        if (wants <= 0) continue;
        const { id, settings } = state.record;
        const weight = strategy === 'weighted' ? settings.weight : 1;
        queues.push({ id, weight, wants, queuePriority: settings.weight });
        known.set(id, state);
        if (strategy === 'weighted' && queues.length >= most) break;
      }
      const before = new Map(queues.map(({ id }) => [id, credit.get(id) ?? 0]));
      const shared = strategy === 'weighted' ? shareSlots : shareStrictly;
      const shares = [...shared(queues, slots, credit)];
      // With enough for all nobody's credit has changed, and there is nothing to make good.
      const wanted = queues.reduce((sum, { wants }) => sum + Math.min(wants, slots), 0);
      if (wanted > slots) {
        for (const [id, given] of shares) {
          round.set(id, { before: before.get(id)!, given, isExcused: false });
        }
      }
      return shares.flatMap(([id, given]) =>
        given === 0 ? [] : [{ state: known.get(id)!, slots: given }],
      );
    },
    excuse({ record }) {
      const share = round.get(record.id);
      if (share !== undefined) share.isExcused = true;
    },
    forget({ record }) {
      credit.delete(record.id);
      round.delete(record.id);
    },
  };
}
