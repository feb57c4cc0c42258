import type { ClaimedTask, Reservation, Reserve } from '../model.ts';
import type { Database } from '../store/database.ts';
import { releaseTasks } from '../store/release.ts';
import type { ClaimRecovery } from './claim-recovery.ts';
import type { Claim } from './claimer.ts';
import type { Ownership } from './ownership.ts';
import { giveBack, noteClaimed, type QueueState, takePlace } from './queue-state.ts';

export interface Reservations {
  reserve: Reserve;
  /** Slots that are kept for tasks on their way. */
  open(): number;
  setPaused(value: boolean): void;
  /** No new ones; resolves when those on their way have come. */
  stop(): Promise<void>;
}

export interface ReservationsOptions {
  database: Database;
  ownership: Ownership;
  recovery: ClaimRecovery;
  pool: string;
  leaseMarginSeconds: number;
  monotonic: () => number;
  /** The database's time, in milliseconds. */
  databaseNow: () => number;
  /** The queue, where it is known; it is not loaded for this. */
  stateOf: (queue: number) => QueueState | undefined;
  /** True when another task of the queue could be called at once, or soon. */
  hasRoom: (state: QueueState) => boolean;
  onClaimed: (task: ClaimedTask, state: QueueState, claim: Claim) => void;
}

/**
 * Tasks that are leased in the statement that enqueues them: where the API is in the process of the
 * queue's owner, nothing waits before them, and limits and slots allow it. That spares a claim: of the
 * time between a task's 201 and its call it was the most. All that a claim takes is taken before the
 * statement is sent, and its fences are in the statement.
 */
export function createReservations(options: ReservationsOptions): Reservations {
  const { ownership, monotonic, pool, leaseMarginSeconds } = options;
  const open = new Set<Reservation>();
  let count = 0;
  let isStopped = false;
  let isPaused = false;
  const emptied = Promise.withResolvers<void>();

  function create(state: QueueState, epoch: string, rank: number): Reservation {
    const sentMs = monotonic();
    const { record } = state;
    // Downwards, so that none meets the number of a claim.
    count -= 1;
    const claimant = { pool, dispatcher: ownership.dispatcher(), epoch, claim: count };
    const reservation: Reservation = {
      grant: {
        ...claimant,
        leaseMarginSeconds,
        version: record.version,
        afterSeq: String(state.claimed.get(rank) ?? 0),
        dispatchDeadlineSeconds: record.settings.dispatchDeadlineSeconds,
      },
      take(task) {
        end(reservation);
        noteClaimed(state, task.rank, BigInt(task.seq));
        options.onClaimed(task, state, { sentMs, isForced: false });
      },
      release() {
        giveBack(state, 1, monotonic());
        end(reservation);
      },
      lose() {
        giveBack(state, 1, monotonic());
        const by = { ...claimant, shard: record.shard, leaseMarginSeconds };
        const undo = (tasks: ClaimedTask[]) =>
          options.database.run((sql) => releaseTasks(sql, record.shard, tasks));
        void options.recovery.recover(by, undo).finally(() => end(reservation));
      },
    };
    return reservation;
  }

  function end(reservation: Reservation): void {
    open.delete(reservation);
    if (isStopped && open.size === 0) emptied.resolve();
  }

  return {
    reserve({ shard, queue, rank }) {
      if (isStopped || isPaused || !ownership.isCertain()) return null;
      const owned = ownership.shards().get(shard);
      const state = options.stateOf(queue);
      if (owned === undefined || state === undefined || !options.hasRoom(state)) return null;
      if (!takePlace(state, monotonic(), options.databaseNow())) return null;
      const reservation = create(state, owned.epoch, rank);
      open.add(reservation);
      return reservation;
    },
    open: () => open.size,
    setPaused(value) {
      isPaused = value;
    },
    async stop() {
      isStopped = true;
      options.recovery.stop();
      if (open.size > 0) await emptied.promise;
    },
  };
}
