import type { ClaimedTask, QueueRecord } from '../model.ts';
import {
  availableTokens,
  changeRate,
  createBucket,
  returnTokens,
  secondsUntilToken,
  type TokenBucket,
  takeTokens,
} from '../policy/rate.ts';
import { createWindowClock, type WindowClock } from '../policy/windows.ts';
import type { QueueClaim } from '../store/claim.ts';
import type { FlowFilling } from '../store/ownership.ts';
import { RUN_NOW_RANK } from '../store/task-run.ts';
import { createFlow, type EmptySince, type Flow } from './flow.ts';
import type { FlowTask } from './flow-types.ts';

/**
 * What the owner of a queue holds in memory: its settings, its limits' levels, and where in its order
 * the next claim looks. One process owns a queue at a time, so these need no row that everyone updates.
 */
export interface QueueState {
  record: QueueRecord;
  /** Tokens are taken at the claim, so that no more is claimed than may be called. */
  bucket: TokenBucket;
  /** And once more when a call starts: however the claims came, the target sees no more than this. */
  gate: TokenBucket;
  windows: WindowClock;
  /** Share of the rate in force while targets ask to be called less; see policy/slowdown. */
  rateShare: number;
  /** Nothing is claimed before, and then one task at a time, as a probe; 0 = not held. See health. */
  heldUntilMs: number;
  /** Calls in flight, and claims sent for them. */
  inFlight: number;
  /** Leases of owners before us that are not settled yet: calls that may be in flight. */
  foreign: number;
  /** Limits of its flow keys; null = flow keys mean nothing here, and nothing is parked. */
  flow: Flow | null;
  /** Rank → the sequence number past which ready tasks may lie. A rank not in here has none. */
  cursors: Map<number, bigint>;
  /** Bytes of a payload, as the last claims brought them: with large ones fewer are claimed at once. */
  payloadBytes: number;
  /** Rank → the highest sequence number that was claimed. */
  claimed: Map<number, bigint>;
  /** Rank → the lowest sequence number told since the last claim was sent, which it may not have seen. */
  news: Map<number, bigint>;
  /** Another owner counts for the queue, or this process anew: nothing more is claimed by this. */
  isDropped: boolean;
}

/** What is left of a queue by the owner before us. */
export interface Inheritance {
  /** Level of its bucket; undefined = full. */
  tokens?: number;
  foreign: number;
  /** For how long nobody had dispatched from it when it came to us. Default: ever. */
  quietSeconds?: number;
  /** How its flow keys' buckets stood. Default: all were empty `quietSeconds` ago. */
  flow?: FlowFilling | undefined;
}

type TakenTask = Pick<ClaimedTask, 'rank' | 'seq' | 'body'>;

/** A claim of a held queue that brought nothing to probe with is followed by another after this. */
const PROBE_CLAIM_MS = 1_000;
const FORCED_LIMIT = 100;
/** Of one queue in one claim: they travel as text, twice their size, and are held until they are settled. */
const CLAIM_BYTES = 8 * 1024 * 1024;
/** Before anything is known of a queue's payloads. */
const UNKNOWN_PAYLOAD_BYTES = 256 * 1024;
/** How fast small payloads are believed in. */
const PAYLOAD_DECAY = 4;
/** Long enough to fill any bucket. */
const EVER_SECONDS = 1e9;

export function createQueueState(
  record: QueueRecord,
  nowMs: number,
  inheritance: Inheritance = { foreign: 0 },
): QueueState {
  const { tokens, foreign } = inheritance;
  const { flow } = record.settings;
  return {
    record,
    bucket: createBucket(rateOf(record), nowMs, tokens),
    gate: createBucket(rateOf(record), nowMs, tokens),
    windows: windowsOf(record),
    rateShare: 1,
    heldUntilMs: 0,
    inFlight: 0,
    foreign,
    flow: flow && createFlow(flow, emptySince(inheritance, nowMs)),
    cursors: new Map(),
    payloadBytes: UNKNOWN_PAYLOAD_BYTES,
    claimed: new Map(),
    news: new Map(),
    isDropped: false,
  };
}

/** Takes over changed settings: in force for every claim and call from now on. */
export function changeRecord(state: QueueState, record: QueueRecord, nowMs: number): void {
  state.record = record;
  state.windows = windowsOf(record);
  if (record.settings.circuitBreaker === null) state.heldUntilMs = 0;
  changeFlow(state, nowMs);
  changeRateShare(state, state.rateShare, nowMs);
}

/** Without limits a flow stays until what is parked has been called: see dropFlow. */
function changeFlow(state: QueueState, nowMs: number): void {
  const limits = state.record.settings.flow;
  if (state.flow !== null) {
    state.flow.change(limits, nowMs);
    // What changed the queue may have been a purge, which ends holders.
    state.flow.doubtAll(nowMs);
  } else if (limits !== null) state.flow = createFlow(limits, emptySince({ foreign: 0 }, nowMs));
}

/** Slows the queue down to a share of its rate and burst, above 0 up to 1. */
export function changeRateShare(state: QueueState, share: number, nowMs: number): void {
  state.rateShare = share;
  const { ratePerSecond, burst } = rateOf(state.record);
  const rate = { ratePerSecond: ratePerSecond * share, burst: Math.max(1, burst * share) };
  changeRate(state.bucket, rate, nowMs);
  changeRate(state.gate, rate, nowMs);
}

/** A ready task lies at (rank, seq): look there again. */
export function noteReady(state: QueueState, rank: number, seq: bigint): void {
  rewind(state, rank, seq);
  const told = state.news.get(rank);
  if (told === undefined || seq < told) state.news.set(rank, seq);
}

/** True when there may be something to claim and the queue is open; `nowMs` is the database's time. */
export function isHungry(state: QueueState, nowMs: number): boolean {
  const { record, cursors, flow, windows } = state;
  if (state.isDropped || (flow !== null && !flow.isLoaded)) return false;
  const hasWork = cursors.size > 0 || flow?.hasCallable() === true;
  return hasWork && !record.paused && !record.isPurging && windows.isOpen(nowMs);
}

/** How many dispatches one claim may bring now by the limits and by their size, the rate left aside. */
export function openDispatches(state: QueueState, nowMs: number): number {
  if (nowMs < state.heldUntilMs) return 0;
  const { maxConcurrentDispatches } = state.record.settings.rateLimits;
  const open = Math.max(0, maxConcurrentDispatches - state.inFlight - state.foreign);
  const most =
    state.heldUntilMs > 0 ? 1 : Math.max(1, Math.floor(CLAIM_BYTES / state.payloadBytes));
  return Math.min(most, open);
}

/** How many dispatches one claim may bring now, by its rate too. */
export function wantsOf(state: QueueState, nowMs: number): number {
  return Math.floor(Math.min(openDispatches(state, nowMs), availableTokens(state.bucket, nowMs)));
}

/**
 * Takes tokens and concurrency for at most `slots` dispatches, and says what to claim with them; null
 * when the limits allow nothing now. What the claim does not use goes back by `answerClaim`.
 */
export function planClaim(state: QueueState, slots: number, nowMs: number): QueueClaim | null {
  const { settings } = state.record;
  const limit = takeTokens(state.bucket, Math.min(slots, openDispatches(state, nowMs)), nowMs);
  if (limit === 0) return null;
  if (state.heldUntilMs > 0) state.heldUntilMs = nowMs + PROBE_CLAIM_MS;
  state.inFlight += limit;
  state.news.clear();
  return {
    queue: state.record.id,
    version: state.record.version,
    limit,
    dispatchDeadlineSeconds: settings.dispatchDeadlineSeconds,
    cursors: [...state.cursors]
      .sort(([a], [b]) => a - b)
      .map(([rank, after]) => ({ rank, afterSeq: String(after) })),
  };
}

/** Takes a token and a place for one dispatch, where nothing is waiting for them and the queue is open. */
export function takePlace(state: QueueState, nowMs: number, databaseNowMs: number): boolean {
  const { record, flow, cursors, windows, heldUntilMs } = state;
  if (flow !== null || cursors.size > 0 || heldUntilMs > 0) return false;
  if (state.isDropped || record.paused || record.isPurging) return false;
  if (!windows.isOpen(databaseNowMs)) return false;
  if (openDispatches(state, nowMs) < 1 || takeTokens(state.bucket, 1, nowMs) < 1) return false;
  state.inFlight += 1;
  return true;
}

/** Claims what was told to run now: outside rate, concurrency and pause. */
export function forcedClaim({ record }: QueueState): QueueClaim {
  return {
    queue: record.id,
    version: record.version,
    isForced: true,
    limit: FORCED_LIMIT,
    dispatchDeadlineSeconds: record.settings.dispatchDeadlineSeconds,
    cursors: [{ rank: RUN_NOW_RANK, afterSeq: '0' }],
  };
}

/**
 * Learns from what a claim brought: cursors move past it, but never past what was told while it was
 * under way; where it brought less than asked for, there is no more, nor up to the rank that it emptied.
 */
export function answerClaim(
  state: QueueState,
  claim: QueueClaim,
  { taken, emptied }: { taken: readonly TakenTask[]; emptied?: number | undefined },
  nowMs: number,
): void {
  notePayloads(state, taken);
  giveBack(state, claim.limit - taken.length, nowMs);
  if (taken.length < claim.limit) state.cursors.clear();
  if (emptied !== undefined) {
    for (const rank of state.cursors.keys()) if (rank <= emptied) state.cursors.delete(rank);
  }
  for (const { rank, seq } of taken) {
    noteClaimed(state, rank, BigInt(seq));
    const after = state.cursors.get(rank);
    if (after !== undefined && BigInt(seq) > after) state.cursors.set(rank, BigInt(seq));
  }
  for (const [rank, seq] of state.news) rewind(state, rank, seq);
}

/** Learns how large the payloads of a queue are. */
function notePayloads(state: QueueState, tasks: readonly { body: Uint8Array }[]): void {
  if (tasks.length === 0) return;
  const bytes = tasks.reduce((sum, { body }) => sum + body.length, 0);
  state.payloadBytes = Math.max(1, bytes / tasks.length, state.payloadBytes / PAYLOAD_DECAY);
}

/** What lies at (rank, seq) and before is no longer ready. */
export function noteClaimed(state: QueueState, rank: number, seq: bigint): void {
  if (seq > (state.claimed.get(rank) ?? 0n)) state.claimed.set(rank, seq);
}

/** Dispatches that did not come about: their tokens and places are free again. */
export function giveBack(state: QueueState, count: number, nowMs: number): void {
  if (count <= 0) return;
  state.inFlight -= count;
  returnTokens(state.bucket, count, nowMs);
}

/** A dispatch that was put off just before its call: it spent nothing. */
export function returnTurn(state: QueueState, nowMs: number): void {
  returnTokens(state.bucket, 1, nowMs);
  returnTokens(state.gate, 1, nowMs);
}

/** Seconds until the rate lets another dispatch through and the queue is not held; 0 when it does now. */
export function secondsUntilOpen(state: QueueState, nowMs: number): number {
  const held = Math.max(0, state.heldUntilMs - nowMs) / 1000;
  return Math.max(held, secondsUntilToken(state.bucket, nowMs));
}

/** Lets a call through the gate, or says in how many seconds to ask again. */
export function passGate(state: QueueState, nowMs: number): number {
  return takeTokens(state.gate, 1, nowMs) === 1 ? 0 : secondsUntilToken(state.gate, nowMs);
}

/** As passGate, for a task whose flow key has a rate of its own: neither takes a token before both have one. */
export function passGates(state: QueueState, task: FlowTask, nowMs: number): number {
  const ofKey = state.flow?.secondsUntilBegin(task, nowMs) ?? 0;
  if (ofKey > 0) return ofKey;
  const seconds = passGate(state, nowMs);
  if (seconds <= 0) state.flow?.begin(task, nowMs);
  return seconds;
}

function emptySince({ quietSeconds, flow }: Inheritance, nowMs: number): EmptySince {
  const at = (seconds: number) => nowMs - seconds * 1000;
  if (flow === undefined) return { othersMs: at(quietSeconds ?? EVER_SECONDS) };
  const keys = Object.entries(flow.keys).map(([key, seconds]) => [key, at(seconds)] as const);
  return { othersMs: at(flow.others), keysMs: new Map(keys) };
}

function rewind(state: QueueState, rank: number, seq: bigint): void {
  const after = state.cursors.get(rank);
  if (after === undefined || seq <= after) state.cursors.set(rank, seq - 1n);
}

function rateOf({ settings: { rateLimits } }: QueueRecord) {
  return { ratePerSecond: rateLimits.maxDispatchesPerSecond, burst: rateLimits.maxBurstSize };
}

function windowsOf({ settings, calendar }: QueueRecord): WindowClock {
  return createWindowClock({ windows: settings.activeWindows, calendar });
}
