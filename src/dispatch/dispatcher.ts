/**
 * HTTP out. A dispatcher owns shards (`ownership`), learns what is ready (`poller` and wake-ups), moves
 * as much as limits and free slots allow from ready to leased (`claimer`), calls the target (`deliver`:
 * sign, post, decide) and writes what came of it (`settler`). Only Postgres lies between it and the API.
 */
import type { Log } from '../log.ts';
import type { WakeUp } from '../model.ts';
import { availableTokens } from '../policy/rate.ts';
import { findLeases } from '../store/claim.ts';
import type { Database } from '../store/database.ts';
import type { ReadyHead } from '../store/promote.ts';
import { loadQueuesByIds } from '../store/queue.ts';
import { writeQueueStatus } from '../store/queue-status.ts';
import { RUN_NOW_RANK } from '../store/task-run.ts';
import { createAttempts } from './attempts.ts';
import { createClaimer } from './claimer.ts';
import { createDatabaseClock } from './database-clock.ts';
import { lostAttempt } from './deliver.ts';
import { createFlowRecovery } from './flow-recovery.ts';
import { createTargetGuard, type TargetRules } from './guard.ts';
import { createHealth } from './health.ts';
import { createHousekeeping } from './housekeeping.ts';
import { createInheritances } from './inheritance.ts';
import { createOwnership } from './ownership.ts';
import { createPoller } from './poller.ts';
import { createPoster } from './post.ts';
import { createQueueDirectory } from './queue-directory.ts';
import type { QueueState } from './queue-state.ts';
import { createSettler } from './settler.ts';
import type { Signer } from './sign.ts';
import type { SharingStrategy } from './slot-sharing.ts';

export interface Dispatcher {
  /** Registers, takes shards and begins. Waits for the database. */
  start(): Promise<void>;
  /** Something was enqueued. Returns what is not ours: other dispatchers must be told of it. */
  wake: (wakeUps: readonly WakeUp[]) => WakeUp[];
  /** Look at every queue at once. */
  lookNow(): void;
  /** No new claims until `resume`; calls in flight go on. */
  pause(): void;
  /** Claims again, once a heartbeat has told what is still ours. */
  resume(): Promise<void>;
  /** Tasks claimed so far, less what was given back or put off: called, or about to be. */
  dispatched(): number;
  /** Hands its queues over; calls in flight finish within the grace or are given back; then leaves. */
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
  /** How slots are shared between queues. Default `weighted`. */
  strategy?: SharingStrategy;
  /** Leaves every other queue alone, for a drain. Default: none is. */
  onlyQueue?: number;
  /** Dispatches no more than this in all; what was told to run now comes on top. Default: no limit. */
  maxDispatches?: number;
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
 * Nor may a claim be older than this share of the take-over time: it was sent while we were certain,
 * and whoever was struck since is certain again under another number.
 */
const FRESH_CLAIM_SHARE = 0.3;
const LOST_BATCH = 500;
/** A database that is away must not keep a drain from its calls in flight. */
const HAND_OVER_BOUND_MS = 2_000;

export function createDispatcher(options: DispatcherOptions): Dispatcher {
  const { database, log, pool, maxDispatches = Number.POSITIVE_INFINITY } = options;
  const monotonic = options.monotonic ?? (() => performance.now());
  const clock = createDatabaseClock(monotonic);
  const poster = createPoster({
    guard: createTargetGuard(options.targetRules),
    connections: options.concurrency,
    proxy: options.proxy,
    ca: options.ca,
  });
  const settler = createSettler({ database, log, onWakeUps: (wakeUps) => void wake(wakeUps) });
  const health = createHealth({
    monotonic,
    databaseNow: clock.now,
    onChanged: () => claimer.pump(),
    onStatus(state, status) {
      const { id: queue, shard } = state.record;
      // What another owns by now is the other's to tell of.
      if (!directory.onShards([shard]).includes(state)) return;
      const dispatcher = ownership.dispatcher();
      database
        .run((sql) => writeQueueStatus(sql, dispatcher, [{ queue, status }]))
        .catch((error) => log.warn({ queue, code: error.code }, 'queue status not written'));
    },
  });
  const attempts = createAttempts({
    database,
    log,
    settler,
    health,
    poster,
    signerOf: options.signerOf,
    clock,
    monotonic,
    publicUrl: options.publicUrl,
    concurrency: options.concurrency,
    freshMs: Math.min(FRESH_CLAIM_MS, options.takeoverMs * FRESH_CLAIM_SHARE),
    isCertain: () => ownership.isCertain(),
    onFree: () => claimer.pump(),
    onWakeUps: (wakeUps) => void wake(wakeUps),
    onParked: feed,
  });
  const inheritances = createInheritances({ database, clock, shards: () => ownership.shards() });
  const directory = createQueueDirectory({
    load: (ids) => database.run((sql) => loadQueuesByIds(sql, ids)),
    pool,
    monotonic,
    log,
    inherit: inheritances.of,
    onChanged: (state) => {
      flowRecovery.meet(state);
      feed(state);
    },
  });
  const ownership = createOwnership({
    ...options,
    clock,
    monotonic,
    prepare: inheritances.prepare,
    onTaken: () => {
      poller.lookNow();
      flowRecovery.lookNow();
      settleLost().catch((error) =>
        log.warn({ error: String(error) }, 'lost leases not settled yet'),
      );
    },
    onHandOver: collectLevels,
    onLost: (shards) => claimer.forget(directory.drop(shards)),
  });
  const claimer = createClaimer({
    database,
    ownership,
    pool,
    leaseMarginSeconds: LEASE_MARGIN_SECONDS,
    strategy: options.strategy ?? 'weighted',
    monotonic,
    databaseNow: clock.now,
    log,
    freeSlots: () => Math.min(attempts.freeSlots(), maxDispatches - attempts.begun()),
    onClaimed: attempts.start,
    onStale: (states) => void directory.reload(states.map(({ record }) => record.id)),
  });
  const ownedShards = () => [...ownership.shards().keys()];
  const poller = createPoller({
    database,
    pool,
    shards: ownedShards,
    monotonic,
    log,
    onHeads: noteHeads,
    onLook: () => inheritances.refresh(directory.onShards(ownedShards())),
  });
  const flowRecovery = createFlowRecovery({
    database,
    pool,
    shards: ownedShards,
    stateOf: directory.state,
    reload: directory.reload,
    states: () => directory.onShards(ownedShards()),
    onChanged: feed,
    monotonic,
    log,
  });
  const housekeeping = createHousekeeping({ database, shards: ownedShards, log, settleLost });

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

  function feed(state: QueueState): void {
    claimer.feed(state);
    claimer.pump();
  }

  function noteHeads(heads: readonly ReadyHead[]): void {
    for (const head of heads) {
      if (options.onlyQueue !== undefined && head.queue !== options.onlyQueue) continue;
      if (head.rank === RUN_NOW_RANK) void runNow(head.queue);
      else directory.noteReady(head);
    }
    claimer.pump();
  }

  async function runNow(queue: number): Promise<void> {
    // A failure is made good by the next look, which finds the same head.
    const state = await directory.state(queue).catch(() => null);
    if (state !== null) claimer.force(state);
  }

  /** Stops claiming from shards that go to another, and says what their buckets hold. */
  async function collectLevels(shards: number[]) {
    await Promise.all(shards.map(claimer.retire));
    return shards.map((shard) => ({ shard, levels: levelsOf(shard) }));
  }

  function levelsOf(shard: number): Record<string, number> {
    const levels = directory.onShards([shard]).map((state) => {
      const level = Math.min(
        availableTokens(state.bucket, monotonic()),
        availableTokens(state.gate, monotonic()),
      );
      // Not the bucket's own burst, which is less while it is slowed down.
      const isFull = level >= state.record.settings.rateLimits.maxBurstSize;
      return { id: state.record.id, level, isFull };
    });
    return Object.fromEntries(levels.flatMap((l) => (l.isFull ? [] : [[l.id, l.level]])));
  }

  async function settleLost(): Promise<void> {
    const shards = ownedShards();
    if (shards.length === 0) return;
    const leases = await database.run((sql) =>
      findLeases(sql, { shards, limit: LOST_BATCH, of: 'lost' }),
    );
    const queues = await directory.records(leases.map(({ queue }) => queue));
    // Ours are still being answered or settled; those of other pools are not ours to settle.
    const lost = leases.filter((l) => !attempts.isInHand(l.leaseId) && queues.has(l.queue));
    if (lost.length === 0) return;
    const settled = await Promise.all(
      lost.map((task) => settler.settle(lostAttempt(task, queues.get(task.queue)!, clock.now()))),
    );
    log.warn({ tasks: settled.filter(Boolean).length }, 'lost attempts settled');
    if (leases.length === LOST_BATCH && settled.some(Boolean)) await settleLost();
  }

  /** Others take the queues over while our last calls end: as foreign leases they count there. */
  async function drain(graceMs: number): Promise<void> {
    health.stop();
    await Promise.all([claimer.stop(), poller.stop(), flowRecovery.stop(), housekeeping.stop()]);
    const handedOver = ownership.handOver().catch(() => undefined);
    await Promise.race([
      handedOver,
      new Promise((end) => setTimeout(end, HAND_OVER_BOUND_MS).unref()),
    ]);
    await attempts.drain(graceMs);
    await poster.close();
    await ownership.leave().catch(() => undefined);
  }

  return {
    async start() {
      await ownership.start();
      poller.start();
      flowRecovery.start();
      housekeeping.start();
    },
    wake,
    lookNow: () => poller.lookNow(),
    pause: () => claimer.setPaused(true),
    async resume() {
      await ownership.check();
      claimer.setPaused(false);
      poller.lookNow();
    },
    dispatched: attempts.begun,
    drain,
  };
}
