import { setTimeout as delay } from 'node:timers/promises';
import type { Log } from '../log.ts';
import type { ClaimedTask } from '../model.ts';
import type { QueueClaim } from '../store/claim.ts';
import { claimParkedTasks, type FlowClaim, type ParkedClaim } from '../store/claim-parked.ts';
import type { Claimant } from '../store/claimed-rows.ts';
import type { Database } from '../store/database.ts';
import { isDatabaseAway } from '../store/errors.ts';
import { parkTasks } from '../store/park.ts';
import { parkAhead } from '../store/park-ahead.ts';
import { type ClaimRecovery, FAILURE_DELAY_MS } from './claim-recovery.ts';
import type { ClaimerOptions } from './claimer.ts';
import type { FlowCall } from './flow-types.ts';
import { giveBack, type QueueState } from './queue-state.ts';

export interface FlowClaims {
  /** This queue may have keys to call from now on, or none any more. */
  note(state: QueueState): void;
  forget(state: QueueState): void;
  /** Queues of which a key may be called now, and the seconds until there is another. */
  look(nowMs: number): { callable: QueueState[]; seconds: number };
  /** Gives a part of what a queue may claim to its parked tasks: `claim` is left with the rest. */
  plan(state: QueueState, claim: QueueClaim, nowMs: number): FlowCall[];
  /** Claims what was planned. */
  claim(by: Claimant, plans: readonly CallPlan[]): Promise<void>;
  /** Makes way in `ready` for other keys, where most of what was taken had to be parked. */
  clear(by: Claimant, taken: readonly ClaimedTask[], refused: readonly QueueState[]): Promise<void>;
  /** Parks tasks in hand, undispatched. Goes on trying while the database is away. */
  park(tasks: readonly ClaimedTask[], stateOf: (task: ClaimedTask) => QueueState): Promise<void>;
  stop(): void;
}

export interface CallPlan {
  state: QueueState;
  claim: QueueClaim;
  calls: readonly FlowCall[];
}

const CLEAR_BATCH = 1_000;

/** What flow keys add to claims: parked tasks are called as their keys have room, others are parked. */
export function createFlowClaims(options: {
  database: Database;
  monotonic: () => number;
  log: Log;
  recovery: ClaimRecovery;
  onClaimed: ClaimerOptions['onClaimed'];
  onStale: ClaimerOptions['onStale'];
  /** So many slots that were promised to a claim are promised no more. */
  onAnswered: (slots: number) => void;
  /** A queue whose claim failed may be claimed from again. */
  onReady: (state: QueueState) => void;
}): FlowClaims {
  const { database, monotonic, log } = options;
  const queues = new Set<QueueState>();
  // Queues whose odd slot goes to what is ready: so neither room starves when there is one slot at a time.
  const served = new WeakSet<QueueState>();
  let isStopped = false;

  function note(state: QueueState): void {
    const isParked = state.flow !== null && state.flow.parkedKeys() > 0;
    if (isParked && !state.isDropped) queues.add(state);
    else queues.delete(state);
  }

  async function parkShard(shard: number, tasks: readonly ParkingTask[]): Promise<void> {
    do {
      try {
        await database.run((sql) => parkTasks(sql, shard, tasks));
        return;
      } catch (error) {
        if (!isDatabaseAway(error)) {
          // They are found as lost when their leases end.
          return log.error({ shard, error }, 'tasks not parked');
        }
        await delay(FAILURE_DELAY_MS);
      }
    } while (!isStopped);
  }

  function takeAnswer(plans: readonly CallPlan[], { tasks, open }: ParkedClaim, sentMs: number) {
    const byQueue = Map.groupBy(tasks, (task) => task.queue);
    const stale: QueueState[] = [];
    for (const plan of plans) {
      const { state } = plan;
      const isOpen = open.has(state.record.id);
      const taken = byQueue.get(state.record.id) ?? [];
      answer(plan, isOpen ? taken : null);
      if (!isOpen) stale.push(state);
      for (const task of taken) options.onClaimed(task, state, { sentMs, isForced: false });
    }
    if (stale.length > 0) options.onStale(stale);
  }

  function answer({ state, calls }: CallPlan, taken: readonly ClaimedTask[] | null): void {
    const count = calls.reduce((sum, { limit }) => sum + limit, 0);
    options.onAnswered(count);
    giveBack(state, count - (taken?.length ?? 0), monotonic());
    state.flow?.answer(calls, taken, monotonic());
    if (taken === null && state.flow !== null) state.flow.isRefused = true;
    note(state);
  }

  async function park(
    tasks: readonly ClaimedTask[],
    stateOf: (task: ClaimedTask) => QueueState,
  ): Promise<void> {
    const ofShard = Map.groupBy(tasks, ({ shard }) => shard);
    for (const [shard, batch] of ofShard) {
      const isHolder = (task: ClaimedTask) => stateOf(task).flow?.isHolder(task) ?? false;
      await parkShard(
        shard,
        batch.map((task) => ({ ...task, isHolder: isHolder(task) })),
      );
      for (const task of batch) {
        stateOf(task).flow?.noteParked(task, monotonic());
        note(stateOf(task));
      }
    }
  }

  return {
    note,
    forget: (state) => void queues.delete(state),
    look(nowMs) {
      const callable: QueueState[] = [];
      let least = Number.POSITIVE_INFINITY;
      for (const state of queues) {
        const seconds = state.flow?.secondsUntilCallable(nowMs) ?? Number.POSITIVE_INFINITY;
        if (seconds > 0) least = Math.min(least, seconds);
        else callable.push(state);
      }
      return { callable, seconds: least };
    },
    plan(state, claim, nowMs) {
      if (state.flow === null || !state.flow.hasCallable()) return [];
      let most = claim.limit;
      if (state.cursors.size > 0) {
        most = served.has(state) ? Math.floor(claim.limit / 2) : Math.ceil(claim.limit / 2);
        if (!served.delete(state)) served.add(state);
      }
      const calls = state.flow.takeCallable(most, nowMs);
      for (const { limit } of calls) claim.limit -= limit;
      return calls;
    },
    async claim(by, plans) {
      const sentMs = monotonic();
      const flows = plans.flatMap(({ claim, calls }) =>
        calls.map((call) => flowClaim(claim, call)),
      );
      try {
        const claimed = await database.run((sql) => claimParkedTasks(sql, { ...by, flows }));
        takeAnswer(plans, claimed, sentMs);
      } catch (error) {
        log.warn({ shard: by.shard, code: (error as { code?: string }).code }, 'claim failed');
        for (const plan of plans) answer(plan, null);
        await delay(FAILURE_DELAY_MS);
        const states = new Map(plans.map(({ state }) => [state.record.id, state]));
        await options.recovery.recover(by, (tasks) =>
          park(tasks, ({ queue }) => states.get(queue)!),
        );
        for (const state of states.values()) options.onReady(state);
      }
    },
    async clear(claimant, taken, refused) {
      for (const { record, cursors, flow } of crowded(taken, refused)) {
        const flowKeys = flow?.blockedKeys() ?? [];
        if (flow === null || cursors.size === 0 || flowKeys.length === 0) continue;
        const input = {
          ...claimant,
          queue: record.id,
          cursors: [...cursors].map(([rank, after]) => ({ rank, afterSeq: String(after) })),
          flowKeys,
          limit: CLEAR_BATCH,
        };
        try {
          await database.run((sql) => parkAhead(sql, input));
        } catch (error) {
          // Nothing depends on it: a claim parks the same tasks, only more slowly.
          log.warn({ queue: record.id, error }, 'blocked keys not parked ahead');
        }
        for (const flowKey of flowKeys) flow.noteParked({ flowKey, taskId: '' }, monotonic());
      }
    },
    park,
    stop() {
      isStopped = true;
    },
  };
}

/** Queues of which most of what was taken had to be parked. */
function crowded(taken: readonly ClaimedTask[], refused: readonly QueueState[]): QueueState[] {
  const all = Map.groupBy(taken, (task) => task.queue);
  return [...Map.groupBy(refused, (state) => state)]
    .filter(([{ record }, parked]) => parked.length * 2 >= all.get(record.id)!.length)
    .map(([state]) => state);
}

interface ParkingTask {
  taskId: string;
  leaseId: string;
  isHolder: boolean;
}

function flowClaim(
  { queue, version, dispatchDeadlineSeconds }: QueueClaim,
  { flowKey, limit }: FlowCall,
): FlowClaim {
  return { queue, version, dispatchDeadlineSeconds, flowKey, limit };
}
