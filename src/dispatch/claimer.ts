import { setTimeout as delay } from 'node:timers/promises';
import type { Log } from '../log.ts';
import type { ClaimedTask } from '../model.ts';
import { claimTasks, findLeases, type QueueClaim } from '../store/claim.ts';
import type { Database } from '../store/database.ts';
import { isDatabaseAway } from '../store/errors.ts';
import { releaseTasks } from '../store/release.ts';
import type { Ownership } from './ownership.ts';
import {
  answerClaim,
  giveBack,
  isHungry,
  planClaim,
  type QueueState,
  secondsUntilOpen,
} from './queue-state.ts';

export interface Claimer {
  /** This queue may have something to claim now. */
  feed(state: QueueState): void;
  /** Claims what limits and free slots allow. Call it whenever one of them may have changed. */
  pump(): void;
  /** Slots promised to claims that are under way. */
  reserved(): number;
  /** No new claims; resolves when those under way are answered. */
  stop(): Promise<void>;
}

export interface ClaimerOptions {
  database: Database;
  ownership: Ownership;
  pool: string;
  leaseMarginSeconds: number;
  monotonic: () => number;
  log: Log;
  /** Slots in which another call could start, promised ones not counted. */
  freeSlots: () => number;
  /** Takes over what was claimed; `sentMs` is when the claim was sent. */
  onClaimed: (task: ClaimedTask, state: QueueState, sentMs: number) => void;
  /** Queues that yielded nothing though they should have: their settings may have changed. */
  onStale: (states: QueueState[]) => void;
}

/** More queues than this in one statement make it slower than two. */
const MAX_QUEUES_PER_CLAIM = 200;
const FAILURE_DELAY_MS = 200;

/**
 * Turns free slots into claims: one statement in flight a shard, for all its queues that have
 * something. While it is under way slots free up, so that the next one takes many tasks at once; this
 * is what makes batches without ever waiting for one.
 */
export function createClaimer(options: ClaimerOptions): Claimer {
  const { database, ownership, monotonic } = options;
  // In the order of their turns: whoever was served goes to the end.
  const hungry = new Set<QueueState>();
  const claiming = new Map<number, Promise<void>>();
  let reserved = 0;
  let claimNumber = 0;
  let isStopped = false;
  let isPumpDue = false;
  let rateTimer: NodeJS.Timeout | undefined;

  /** Once for all that changed in this turn: whoever is told second may go first. */
  function pump(): void {
    if (isPumpDue) return;
    isPumpDue = true;
    queueMicrotask(claimNow);
  }

  function claimNow(): void {
    isPumpDue = false;
    if (isStopped || hungry.size === 0 || !ownership.isCertain()) return;
    for (const [shard, plans] of planClaims()) {
      const claim = claimShard(shard, plans).finally(() => {
        claiming.delete(shard);
        pump();
      });
      claiming.set(shard, claim);
    }
  }

  function planClaims(): Map<number, Plan[]> {
    const plans = new Map<number, Plan[]>();
    const turn = [...hungry].filter((state) => isHungry(state) && canClaim(state.record.shard));
    let free = options.freeSlots() - reserved;
    const share = Math.max(1, Math.ceil(free / Math.max(1, turn.length)));
    let nextTokenSeconds = Number.POSITIVE_INFINITY;
    for (const state of turn) {
      if (free <= 0) break;
      const ofShard = plans.get(state.record.shard) ?? [];
      if (ofShard.length >= MAX_QUEUES_PER_CLAIM) continue;
      const claim = planClaim(state, Math.min(share, free), monotonic());
      if (claim === null) {
        const seconds = secondsUntilOpen(state, monotonic());
        // Zero: it waits for a call of its own to end, which pumps by itself.
        if (seconds > 0) nextTokenSeconds = Math.min(nextTokenSeconds, seconds);
        continue;
      }
      free -= claim.limit;
      reserved += claim.limit;
      plans.set(state.record.shard, [...ofShard, { state, claim }]);
      hungry.delete(state);
      hungry.add(state);
    }
    pumpAfter(nextTokenSeconds);
    return plans;
  }

  function canClaim(shard: number): boolean {
    return !claiming.has(shard) && ownership.shards().has(shard);
  }

  function pumpAfter(seconds: number): void {
    if (!Number.isFinite(seconds)) return;
    clearTimeout(rateTimer);
    rateTimer = setTimeout(pump, Math.min(Math.ceil(seconds * 1000), 60_000));
  }

  async function claimShard(shard: number, plans: Plan[]): Promise<void> {
    const sentMs = monotonic();
    claimNumber += 1;
    const claim = claimNumber;
    const dispatcher = ownership.dispatcher();
    try {
      const tasks = await database.run((sql) =>
        claimTasks(sql, {
          pool: options.pool,
          shard,
          dispatcher,
          epoch: ownership.shards().get(shard) ?? '-1',
          claim,
          leaseMarginSeconds: options.leaseMarginSeconds,
          queues: plans.map((plan) => plan.claim),
        }),
      );
      takeAnswer(plans, tasks, sentMs);
    } catch (error) {
      options.log.warn({ shard, code: (error as { code?: string }).code }, 'claim failed');
      for (const plan of plans) giveBackPlan(plan);
      await delay(FAILURE_DELAY_MS);
      await recoverClaim(shard, dispatcher, claim);
    }
  }

  function takeAnswer(plans: Plan[], tasks: ClaimedTask[], sentMs: number): void {
    const byQueue = Map.groupBy(tasks, (task) => task.queue);
    const stale: QueueState[] = [];
    for (const { state, claim } of plans) {
      const taken = byQueue.get(claim.queue) ?? [];
      reserved -= claim.limit;
      answerClaim(state, claim, taken, monotonic());
      if (!isHungry(state)) hungry.delete(state);
      if (taken.length === 0) stale.push(state);
      for (const task of taken) options.onClaimed(task, state, sentMs);
    }
    if (stale.length > 0) options.onStale(stale);
  }

  function giveBackPlan({ state, claim }: Plan): void {
    reserved -= claim.limit;
    giveBack(state, claim.limit, monotonic());
  }

  /**
   * The statement may have been committed, or may still run. A raised epoch waits for it and stops it
   * from beginning later; what it took is then found by its number and given back, undispatched.
   */
  async function recoverClaim(shard: number, dispatcher: number, claim: number): Promise<void> {
    while (!isStopped) {
      try {
        await ownership.renew(shard);
        const leases = await database.run((sql) =>
          findLeases(sql, { shards: [shard], limit: 10_000, dispatcher, claim }),
        );
        if (leases.length > 0) await database.run((sql) => releaseTasks(sql, shard, leases));
        return;
      } catch (error) {
        if (!isDatabaseAway(error)) {
          // What it took, if anything, is found as lost when its lease ends.
          return options.log.error({ shard, error: String(error) }, 'claim not recovered');
        }
        await delay(FAILURE_DELAY_MS);
      }
    }
  }

  return {
    feed(state) {
      if (isHungry(state)) hungry.add(state);
      else hungry.delete(state);
    },
    pump,
    reserved: () => reserved,
    async stop() {
      isStopped = true;
      clearTimeout(rateTimer);
      await Promise.allSettled(claiming.values());
    },
  };
}

interface Plan {
  state: QueueState;
  claim: QueueClaim;
}
