/**
 * HTTP out. A dispatcher owns shards (`ownership`), learns what is ready (`poller` and wake-ups), moves
 * as much as limits and free slots allow from ready to leased (`claimer`), calls the target (`deliver`:
 * sign, post, decide) and writes what came of it (`settler`). Only Postgres lies between it and the API.
 */
import pLimit from 'p-limit';
import type { Log } from '../log.ts';
import type { ClaimedTask, QueueRecord, Settlement, WakeUp } from '../model.ts';
import { findLeases } from '../store/claim.ts';
import type { Database } from '../store/database.ts';
import { isDatabaseAway } from '../store/errors.ts';
import type { ReadyHead } from '../store/promote.ts';
import { loadQueuesByIds } from '../store/queue.ts';
import { releaseTasks } from '../store/release.ts';
import { createClaimer } from './claimer.ts';
import { createDatabaseClock } from './database-clock.ts';
import { deliver, lostAttempt } from './deliver.ts';
import { createTargetGuard, type TargetRules } from './guard.ts';
import { createHousekeeping } from './housekeeping.ts';
import { createOwnership } from './ownership.ts';
import { createPoller } from './poller.ts';
import { createPoster } from './post.ts';
import { createQueueDirectory } from './queue-directory.ts';
import type { QueueState } from './queue-state.ts';
import { createSettler } from './settler.ts';
import type { Signer } from './sign.ts';

export interface Dispatcher {
  /** Registers, takes shards and begins. Waits for the database. */
  start(): Promise<void>;
  /** Something was enqueued. Returns what is not ours: other dispatchers must be told of it. */
  wake: (wakeUps: readonly WakeUp[]) => WakeUp[];
  /** Look at every queue at once. */
  lookNow(): void;
  /** No new claim; calls in flight finish within the grace or are given back; then leaves. */
  drain(graceMs: number): Promise<void>;
}

export interface DispatcherOptions {
  database: Database;
  pool: string;
  host: string;
  pid: number;
  publicUrl: string;
  concurrency: number;
  takeoverMs: number;
  /** See OwnershipOptions. */
  isSole: boolean;
  targetRules: TargetRules;
  proxy: string | null;
  ca: string | null;
  signerOf: (project: string) => Promise<Signer>;
  log: Log;
  monotonic?: () => number;
}

/** A lease outlives its attempt's deadline by this, so that its settlement comes in time. */
const LEASE_MARGIN_SECONDS = 15;
/** A claim whose answer took longer is given back: its leases have aged unseen. */
const FRESH_CLAIM_MS = 5_000;
/**
 * Nor may a claim be older than this share of the take-over time: it was sent up to 6/10 of it after a
 * beat, and whoever was struck since is certain again under another number.
 */
const FRESH_CLAIM_SHARE = 0.4;
const LOST_BATCH = 500;

export function createDispatcher(options: DispatcherOptions): Dispatcher {
  const { database, log, pool } = options;
  const monotonic = options.monotonic ?? (() => performance.now());
  const clock = createDatabaseClock(monotonic);
  const calls = pLimit(options.concurrency);
  const freshMs = Math.min(FRESH_CLAIM_MS, options.takeoverMs * FRESH_CLAIM_SHARE);
  const inHand = new Map<string, ClaimedTask>();
  const poster = createPoster({
    guard: createTargetGuard(options.targetRules),
    connections: options.concurrency,
    proxy: options.proxy,
    ca: options.ca,
  });
  const deliverParts = {
    poster,
    signerOf: options.signerOf,
    clock,
    monotonic,
    publicUrl: options.publicUrl,
  };
  const settler = createSettler({ database, log, onWakeUps: (wakeUps) => void wake(wakeUps) });
  const directory = createQueueDirectory({
    load: (ids) => database.run((sql) => loadQueuesByIds(sql, ids)),
    pool,
    monotonic,
    log,
    onChanged: (state) => {
      claimer.feed(state);
      claimer.pump();
    },
  });
  const ownership = createOwnership({
    ...options,
    clock,
    monotonic,
    onTaken: () => {
      poller.lookNow();
      void settleLost().catch((error) =>
        log.warn({ error: String(error) }, 'lost leases not settled yet'),
      );
    },
  });
  const claimer = createClaimer({
    database,
    ownership,
    pool,
    leaseMarginSeconds: LEASE_MARGIN_SECONDS,
    monotonic,
    log,
    freeSlots: () => options.concurrency - calls.activeCount - calls.pendingCount,
    onClaimed: start,
    onStale: (states) => void directory.reload(states.map(({ record }) => record.id)),
  });
  const ownedShards = () => [...ownership.shards().keys()];
  const poller = createPoller({
    database,
    shards: ownedShards,
    monotonic,
    log,
    onHeads: noteHeads,
  });
  const housekeeping = createHousekeeping({ database, shards: ownedShards, log, settleLost });
  let isDraining = false;

  function wake(wakeUps: readonly WakeUp[]): WakeUp[] {
    const foreign: WakeUp[] = [];
    const heads: ReadyHead[] = [];
    for (const wakeUp of wakeUps) {
      if (!ownership.shards().has(wakeUp.shard)) foreign.push(wakeUp);
      else if (wakeUp.seq === null) poller.noteDue(wakeUp.dueInSeconds);
      else heads.push({ ...wakeUp, seq: wakeUp.seq });
    }
    if (heads.length > 0) noteHeads(heads);
    return foreign;
  }

  function noteHeads(heads: readonly ReadyHead[]): void {
    for (const head of heads) directory.noteReady(head);
    claimer.pump();
  }

  function start(task: ClaimedTask, state: QueueState, sentMs: number): void {
    inHand.set(task.leaseId, task);
    void calls(() => attempt(task, state, sentMs)).finally(claimer.pump);
  }

  /** From claimed to decided; what was decided is written while the slot is free again already. */
  async function attempt(task: ClaimedTask, state: QueueState, sentMs: number): Promise<void> {
    const isFresh = monotonic() - sentMs < freshMs && ownership.isCertain();
    const settlement = isDraining || !isFresh ? null : await attemptCall(task, state.record);
    if (settlement === null) await giveBack(task);
    else void settle(task, settlement);
    state.inFlight -= 1;
  }

  /** Null when it could not even begin, for the database that keeps the signing key is away. */
  async function attemptCall(task: ClaimedTask, queue: QueueRecord): Promise<Settlement | null> {
    try {
      return await deliver(deliverParts, task, queue);
    } catch (error) {
      if (isDatabaseAway(error)) return null;
      log.error({ task: task.taskId, error: String(error) }, 'an attempt failed before its call');
      return lostAttempt(task, queue, clock.now());
    }
  }

  async function settle(task: ClaimedTask, settlement: Settlement): Promise<void> {
    const isValid = await settler.settle(settlement);
    inHand.delete(task.leaseId);
    if (!isValid) log.warn({ task: task.taskId }, 'the lease was lost before its settlement');
  }

  async function giveBack(task: ClaimedTask): Promise<void> {
    try {
      const wakeUps = await database.run((sql) => releaseTasks(sql, task.shard, [task]));
      if (!isDraining) wake(wakeUps);
    } catch (error) {
      // It will be found as lost when its lease ends or this dispatcher is gone.
      if (!isDatabaseAway(error)) throw error;
    } finally {
      inHand.delete(task.leaseId);
    }
  }

  async function settleLost(): Promise<void> {
    const shards = ownedShards();
    if (shards.length === 0) return;
    const leases = await database.run((sql) =>
      findLeases(sql, { shards, limit: LOST_BATCH, of: 'lost' }),
    );
    const queues = await directory.records(leases.map(({ queue }) => queue));
    // Ours are still being answered or settled; those of other pools are not ours to settle.
    const lost = leases.filter(({ leaseId, queue }) => !inHand.has(leaseId) && queues.has(queue));
    if (lost.length === 0) return;
    const settled = await Promise.all(
      lost.map((task) => settler.settle(lostAttempt(task, queues.get(task.queue)!, clock.now()))),
    );
    log.warn({ tasks: settled.filter(Boolean).length }, 'lost attempts settled');
    if (leases.length === LOST_BATCH && settled.some(Boolean)) await settleLost();
  }

  async function drain(graceMs: number): Promise<void> {
    isDraining = true;
    await Promise.all([claimer.stop(), poller.stop(), housekeeping.stop()]);
    await untilIdle(graceMs);
    settler.stopRetrying();
    const left = Map.groupBy(inHand.values(), (task) => task.shard);
    for (const [shard, tasks] of left) {
      await database.run((sql) => releaseTasks(sql, shard, tasks)).catch(() => undefined);
    }
    await poster.close();
    await ownership.leave().catch(() => undefined);
  }

  async function untilIdle(graceMs: number): Promise<void> {
    const endMs = monotonic() + graceMs;
    while (inHand.size > 0 && monotonic() < endMs) {
      await new Promise((resolve) => setTimeout(resolve, 10));
    }
  }

  return {
    async start() {
      await ownership.start();
      poller.start();
      housekeeping.start();
    },
    wake,
    lookNow: () => poller.lookNow(),
    drain,
  };
}
