/**
 * HTTP out. A dispatcher owns shards (`ownership`), learns what is ready (`poller` and wake-ups), moves
 * as much as limits and free slots allow from ready to leased (`claimer`), calls the target (`deliver`:
 * sign, post, decide) and writes what came of it (`settler`). Only Postgres lies between it and the API.
 */
import type { Reserve, WakeUp } from '../model.ts';
import type { ReadyHead } from '../store/find-work.ts';
import { loadQueuesByIds } from '../store/queue.ts';
import { RUN_NOW_RANK } from '../store/task-run.ts';
import { createAttempts } from './attempts.ts';
import { createClaimRecovery } from './claim-recovery.ts';
import { createClaimer } from './claimer.ts';
import { createDatabaseClock } from './database-clock.ts';
import type { DispatcherOptions } from './dispatcher-options.ts';
import { createFlowRecovery } from './flow-recovery.ts';
import { createTargetGuard } from './guard.ts';
import { levelsLeft } from './handover.ts';
import { createHealth } from './health.ts';
import { createHousekeeping } from './housekeeping.ts';
import { createInheritances } from './inheritance.ts';
import { createLostAttempts } from './lost-attempts.ts';
import { createOwnership } from './ownership.ts';
import { createPoller } from './poller.ts';
import { createPoster } from './post.ts';
import { createQueueDirectory } from './queue-directory.ts';
import type { QueueState } from './queue-state.ts';
import { createQueueStatusWriter } from './queue-status-writer.ts';
import { createReservations } from './reservations.ts';
import { createSettler } from './settler.ts';

export interface Dispatcher {
  /** Registers, takes shards and begins. Waits for the database. */
  start(): Promise<void>;
  /** Something was enqueued. Returns what is not ours: other dispatchers must be told of it. */
  wake: (wakeUps: readonly WakeUp[]) => WakeUp[];
  /** Keeps a slot for a task that is to be enqueued; see Reservation. */
  reserve: Reserve;
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

/** A lease outlives its attempt's deadline by this, so that its settlement comes in time. */
const LEASE_MARGIN_SECONDS = 15;
/** A claim whose answer took longer is given back: its leases have aged unseen. */
const FRESH_CLAIM_MS = 5_000;
/**
 * Nor may a claim be older than this share of the take-over time: it was sent while we were certain,
 * and whoever was struck since is certain again under another number.
 */
const FRESH_CLAIM_SHARE = 0.3;
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
    onStatus: createQueueStatusWriter({
      database,
      dispatcher: () => ownership.dispatcher(),
      log,
    }),
  });
  const attempts = createAttempts({
    database,
    log,
    settler,
    health,
    poster,
    signerOf: options.signerOf,
    keyring: options.keyring,
    clock,
    monotonic,
    publicUrl: options.publicUrl,
    concurrency: options.concurrency,
    isStrict: options.strategy === 'strict-priority',
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
    onDropped: (states) => claimer.forget(states),
  });
  const ownership = createOwnership({
    ...options,
    database: options.heartbeats ?? database,
    clock,
    monotonic,
    prepare: inheritances.prepare,
    onTaken: () => {
      poller.lookNow();
      flowRecovery.lookNow();
      settleLost().catch((error) => log.warn({ error }, 'lost leases not settled yet'));
    },
    onHandOver: collectLevels,
    onLost: (shards) => directory.drop(shards),
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
    slots: { room, roomOf: attempts.roomOf },
    onClaimed: attempts.start,
    onStale: (states) => void directory.reload(states.map(({ record }) => record.id)),
  });
  const reservations = createReservations({
    database,
    ownership,
    recovery: createClaimRecovery({ database, ownership, log }),
    pool,
    leaseMarginSeconds: LEASE_MARGIN_SECONDS,
    monotonic,
    databaseNow: clock.now,
    stateOf: directory.known,
    hasRoom: ({ inFlight }) => attempts.roomOf(inFlight) > 0 && room(claimer.promised()) > 0,
    onClaimed: attempts.start,
  });
  const ownedShards = () => [...ownership.shards().keys()];
  const poller = createPoller({
    database,
    pool,
    shards: ownedShards,
    claimed: () => directory.claimedOn(ownedShards()),
    monotonic,
    log,
    onHeads: noteHeads,
    onLook: () => inheritances.refresh(() => directory.onShards(ownedShards())),
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
  const settleLost = createLostAttempts({
    database,
    shards: ownedShards,
    queues: directory.records,
    isInHand: attempts.isInHand,
    settle: settler.settle,
    databaseNow: clock.now,
    log,
  });
  const housekeeping = createHousekeeping({ database, shards: ownedShards, log, settleLost });

  function wake(wakeUps: readonly WakeUp[]): WakeUp[] {
    const foreign: WakeUp[] = [];
    const heads: ReadyHead[] = [];
    for (const wakeUp of wakeUps) {
      if (!ownership.shards().has(wakeUp.shard)) foreign.push(wakeUp);
      else if (wakeUp.ended !== undefined) void flowRecovery.noteEnded(wakeUp.queue, wakeUp.ended);
      else if (wakeUp.seq === null) poller.noteDue(wakeUp.dueInSeconds);
      else heads.push({ ...wakeUp, seq: wakeUp.seq });
    }
    if (heads.length > 0) noteHeads(heads);
    return foreign;
  }

  function room(promised: number, isUneven?: boolean): number {
    const coming = promised + reservations.open();
    return Math.min(attempts.room(coming, isUneven), maxDispatches - attempts.begun() - coming);
  }

  function feed(state: QueueState): void {
    claimer.feed(state);
    claimer.pump();
  }

  function noteHeads(heads: readonly ReadyHead[]): void {
    for (const head of heads) {
      if (options.onlyQueue !== undefined && head.queue !== options.onlyQueue.id) continue;
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

  function setPaused(value: boolean): void {
    claimer.setPaused(value);
    reservations.setPaused(value);
  }

  /** Stops claiming from shards that go to another, and says what their buckets hold. */
  async function collectLevels(shards: number[]) {
    await Promise.all(shards.map(claimer.retire));
    const now = { nowMs: monotonic(), databaseNowMs: clock.now() };
    return shards.flatMap((shard) => {
      const owned = ownership.shards().get(shard);
      if (owned === undefined) return [];
      return [{ shard, left: levelsLeft(directory.onShards([shard]), owned, now) }];
    });
  }

  /** Others take the queues over while our last calls end: as foreign leases they count there. */
  async function drain(graceMs: number): Promise<void> {
    health.stop();
    await Promise.all([
      claimer.stop(),
      reservations.stop(),
      poller.stop(),
      flowRecovery.stop(),
      housekeeping.stop(),
    ]);
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
    reserve: reservations.reserve,
    lookNow() {
      poller.lookNow();
      flowRecovery.lookNow();
    },
    pause: () => setPaused(true),
    async resume() {
      await ownership.check();
      setPaused(false);
      poller.lookNow();
    },
    dispatched: attempts.begun,
    drain,
  };
}
