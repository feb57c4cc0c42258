import { setTimeout as delay } from 'node:timers/promises';
import type { Log } from '../log.ts';
import type { ClaimedTask } from '../model.ts';
import { claimTasks, type ReadyClaim } from '../store/claim.ts';
import type { Claimant } from '../store/claimed-rows.ts';
import type { Database } from '../store/database.ts';
import { releaseTasks } from '../store/release.ts';
import type { Slots } from './attempts.ts';
import { createClaimRecovery, FAILURE_DELAY_MS } from './claim-recovery.ts';
import { createFlowClaims, type CallPlan as Plan } from './flow-claims.ts';
import type { Ownership } from './ownership.ts';
import {
  answerClaim,
  forcedClaim,
  giveBack,
  planClaim,
  type QueueState,
  secondsUntilOpen,
} from './queue-state.ts';
import type { SharingStrategy } from './slot-sharing.ts';
import { createTurns } from './turns.ts';

export interface Claimer {
  /** This queue may have something to claim now. */
  feed(state: QueueState): void;
  /** A task of this queue is to run now, outside rate, concurrency and pause. */
  force(state: QueueState): void;
  /** These queues are no longer ours. */
  forget(states: readonly QueueState[]): void;
  /** No new claims from this shard; resolves when the one under way is answered. */
  retire(shard: number): Promise<void>;
  /** Claims what limits and free slots allow. Call it whenever one of them may have changed. */
  pump(): void;
  /** Slots that are promised to claims under way. */
  promised(): number;
  /** While paused there are no new claims. */
  setPaused(value: boolean): void;
  /** No new claims; resolves when those under way are answered. */
  stop(): Promise<void>;
}

export interface ClaimerOptions {
  database: Database;
  ownership: Ownership;
  pool: string;
  leaseMarginSeconds: number;
  strategy: SharingStrategy;
  monotonic: () => number;
  /** The database's time, in milliseconds: what windows are reckoned by. */
  databaseNow: () => number;
  log: Log;
  slots: Slots;
  /** Takes over what was claimed. */
  onClaimed: (task: ClaimedTask, state: QueueState, claim: Claim) => void;
  /** Queues that yielded nothing though they should have: their settings may have changed. */
  onStale: (states: QueueState[]) => void;
}

export interface Claim {
  /** When it was sent, by the monotonic clock. */
  sentMs: number;
  /** For a task that was told to run now: no token and no place was taken for it. */
  isForced: boolean;
}

/** More queues than this in one statement make it slower than two. */
const MAX_QUEUES_PER_CLAIM = 200;
/** Claims under way at once: fewer make each bring more. */
const MAX_CLAIMS = 3;
const NOTHING: ReadyClaim = { tasks: [], emptied: new Map() };

/**
 * Turns free slots into claims: one statement in flight a shard, for all its queues that have
 * something. While it is under way slots free up, so that the next one takes many tasks at once; this
 * is what makes batches without ever waiting for one.
 */
export function createClaimer(options: ClaimerOptions): Claimer {
  const { database, ownership, monotonic } = options;
  const turns = createTurns({ ...options, canClaim });
  const forced = new Set<QueueState>();
  const claiming = new Map<number, Promise<void>>();
  const retired = new Set<number>();
  const recovery = createClaimRecovery(options);
  const flows = createFlowClaims({ ...options, recovery, onAnswered: unreserve, onReady: feed });
  let reserved = 0;
  let claimNumber = 0;
  let isStopped = false;
  let isPaused = false;
  let isPumpDue = false;
  let rateTimer: NodeJS.Timeout | undefined;

  function unreserve(slots: number): void {
    reserved -= slots;
  }

  /** Once for all that changed in this turn: whoever is told second may go first. */
  function pump(): void {
    if (isPumpDue) return;
    isPumpDue = true;
    queueMicrotask(claimNow);
  }

  function claimNow(): void {
    isPumpDue = false;
    if (isStopped || isPaused) return;
    const flowSeconds = feedFlows();
    if ((turns.isIdle() && forced.size === 0) || !ownership.isCertain()) return;
    for (const [shard, plans] of planForced()) send(shard, plans);
    for (const [shard, plans] of planClaims(flowSeconds)) send(shard, plans);
  }

  /** Keys may have got tokens meanwhile. Returns the seconds until the next will. */
  function feedFlows(): number {
    const { callable, seconds } = flows.look(monotonic());
    for (const state of callable) turns.feed(state);
    pumpAfter(seconds);
    return seconds;
  }

  function send(shard: number, plans: Plan[]): void {
    const claim = claimShard(shard, plans).finally(() => {
      claiming.delete(shard);
      pump();
    });
    claiming.set(shard, claim);
  }

  function planForced(): Map<number, Plan[]> {
    for (const state of forced) if (state.isDropped) forced.delete(state);
    const states = [...forced].filter(({ record }) => canClaim(record.shard));
    for (const state of states) forced.delete(state);
    const plans = states.map((state) => ({ state, claim: forcedClaim(state), calls: [] }));
    return Map.groupBy(plans, ({ state }) => state.record.shard);
  }

  function planClaims(flowSeconds: number): Map<number, Plan[]> {
    const plans = new Map<number, Plan[]>();
    const nowMs = monotonic();
    const free = options.slots.room(reserved, turns.isUneven());
    // Whatever ends next, a call or a claim, pumps again.
    if (free <= 0 || claiming.size >= MAX_CLAIMS) return plans;
    const { turn, shares } = turns.take(free, MAX_CLAIMS - claiming.size, nowMs);
    let nextTokenSeconds = flowSeconds;
    for (const { state, slots } of shares) {
      const ofShard = plans.get(state.record.shard) ?? [];
      if (
        !canClaim(state.record.shard) ||
        ofShard.length >= MAX_QUEUES_PER_CLAIM ||
        (ofShard.length === 0 && claiming.size + plans.size >= MAX_CLAIMS)
      ) {
        // Its slots stay free until the claim under way is answered, or its part would go to others.
        turns.excuse(state);
        continue;
      }
      const claim = planClaim(state, slots, nowMs);
      if (claim === null) continue;
      reserved += claim.limit;
      ofShard.push({ state, claim, calls: flows.plan(state, claim, nowMs) });
      plans.set(state.record.shard, ofShard);
    }
    for (const state of turn) {
      const seconds = secondsUntilOpen(state, nowMs);
      // Zero: it waits for a slot or for a call of its own to end, which pumps by itself.
      if (seconds > 0) nextTokenSeconds = Math.min(nextTokenSeconds, seconds);
    }
    pumpAfter(nextTokenSeconds);
    return plans;
  }

  function canClaim(shard: number): boolean {
    return !claiming.has(shard) && !retired.has(shard) && ownership.shards().has(shard);
  }

  function pumpAfter(seconds: number): void {
    if (!Number.isFinite(seconds)) return;
    clearTimeout(rateTimer);
    rateTimer = setTimeout(pump, Math.min(Math.ceil(seconds * 1000), 60_000));
  }

  /** What is parked has waited longer than what is ready, so it comes first. */
  async function claimShard(shard: number, plans: Plan[]): Promise<void> {
    const toCall = plans.filter(({ calls }) => calls.length > 0);
    if (toCall.length > 0) await flows.claim(claimant(shard), toCall);
    await claimReady(shard, plans);
  }

  function claimant(shard: number): Claimant {
    claimNumber += 1;
    return {
      pool: options.pool,
      shard,
      dispatcher: ownership.dispatcher(),
      epoch: ownership.shards().get(shard)?.epoch ?? '-1',
      claim: claimNumber,
      leaseMarginSeconds: options.leaseMarginSeconds,
    };
  }

  async function claimReady(shard: number, plans: Plan[]): Promise<void> {
    const sentMs = monotonic();
    const queues = plans.map(({ claim }) => claim).filter((claim) => claim.limit > 0);
    const hasWork = queues.some(({ cursors }) => cursors.length > 0);
    const by = claimant(shard);
    try {
      const answer = hasWork
        ? await database.run((sql) => claimTasks(sql, { ...by, queues }))
        : NOTHING;
      const refused = takeAnswer(plans, answer, sentMs);
      if (refused.size > 0) {
        await flows.park([...refused.keys()], (task) => refused.get(task)!);
        await flows.clear(by, answer.tasks, [...refused.values()]);
      }
    } catch (error) {
      options.log.warn({ shard, code: (error as { code?: string }).code }, 'claim failed');
      for (const plan of plans) giveBackPlan(plan);
      await delay(FAILURE_DELAY_MS);
      await recovery.recover(by, (tasks) => database.run((sql) => releaseTasks(sql, shard, tasks)));
    }
  }

  /** Returns what came too early for its flow key. */
  function takeAnswer(
    plans: Plan[],
    { tasks, emptied }: ReadyClaim,
    sentMs: number,
  ): Map<ClaimedTask, QueueState> {
    const refused = new Map<ClaimedTask, QueueState>();
    const byQueue = Map.groupBy(tasks, (task) => task.queue);
    const stale: QueueState[] = [];
    for (const { state, claim } of plans) {
      const taken = byQueue.get(claim.queue) ?? [];
      const isForced = claim.isForced ?? false;
      if (isForced && taken.length === claim.limit) forced.add(state);
      if (!isForced) {
        reserved -= claim.limit;
        answerClaim(state, claim, { taken, emptied: emptied.get(claim.queue) }, monotonic());
        turns.review(state);
        const wasAsked = claim.cursors.length * claim.limit > 0;
        if (taken.length === 0 && wasAsked) stale.push(state);
      }
      for (const task of taken) {
        if (isForced) state.flow?.force(task, monotonic());
        else if (state.flow?.admit(task, monotonic()) === false) {
          refused.set(task, state);
          giveBack(state, 1, monotonic());
          continue;
        }
        options.onClaimed(task, state, { sentMs, isForced });
      }
    }
    if (stale.length > 0) options.onStale(stale);
    return refused;
  }

  function giveBackPlan({ state, claim }: Plan): void {
    if (claim.isForced) return void forced.add(state);
    reserved -= claim.limit;
    giveBack(state, claim.limit, monotonic());
  }

  function feed(state: QueueState): void {
    if (state.flow !== null) state.flow.isRefused = false;
    flows.note(state);
    turns.feed(state);
  }

  return {
    feed,
    force(state) {
      forced.add(state);
      pump();
    },
    forget(states) {
      for (const state of states) {
        turns.forget(state);
        forced.delete(state);
        flows.forget(state);
      }
    },
    async retire(shard) {
      retired.add(shard);
      await claiming.get(shard);
      retired.delete(shard);
    },
    pump,
    promised: () => reserved,
    setPaused(value) {
      isPaused = value;
      pump();
    },
    async stop() {
      isStopped = true;
      flows.stop();
      recovery.stop();
      clearTimeout(rateTimer);
      await Promise.allSettled(claiming.values());
    },
  };
}
