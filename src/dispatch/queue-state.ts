import type { QueueRecord } from '../model.ts';
import {
  changeRate,
  createBucket,
  returnTokens,
  secondsUntilToken,
  type TokenBucket,
  takeTokens,
} from '../policy/rate.ts';
import type { QueueClaim } from '../store/claim.ts';

/**
 * What the owner of a queue holds in memory: its settings, its limits' levels, and where in its order
 * the next claim looks. One process owns a queue at a time, so these need no row that everyone updates.
 */
export interface QueueState {
  record: QueueRecord;
  bucket: TokenBucket;
  /** Calls in flight, and claims sent for them. */
  inFlight: number;
  /** Rank → the sequence number past which ready tasks may lie. A rank not in here has none. */
  cursors: Map<number, bigint>;
  /** Rank → the lowest sequence number told since the last claim was sent, which it may not have seen. */
  news: Map<number, bigint>;
}

export function createQueueState(record: QueueRecord, nowMs: number, tokens?: number): QueueState {
  return {
    record,
    bucket: createBucket(rateOf(record), nowMs, tokens),
    inFlight: 0,
    cursors: new Map(),
    news: new Map(),
  };
}

/** Takes over changed settings: in force for every claim from now on. */
export function changeRecord(state: QueueState, record: QueueRecord, nowMs: number): void {
  state.record = record;
  changeRate(state.bucket, rateOf(record), nowMs);
}

/** A ready task lies at (rank, seq): look there again. */
export function noteReady(state: QueueState, rank: number, seq: bigint): void {
  const after = state.cursors.get(rank);
  if (after === undefined || seq <= after) state.cursors.set(rank, seq - 1n);
  const told = state.news.get(rank);
  if (told === undefined || seq < told) state.news.set(rank, seq);
}

/** True when there may be something to claim and the queue is open. */
export function isHungry({ record, cursors }: QueueState): boolean {
  return cursors.size > 0 && !record.paused && !record.isPurging;
}

/**
 * Takes tokens and concurrency for at most `slots` dispatches, and says what to claim with them; null
 * when the limits allow nothing now. What the claim does not use goes back by `answerClaim`.
 */
export function planClaim(state: QueueState, slots: number, nowMs: number): QueueClaim | null {
  const { settings } = state.record;
  const open = settings.rateLimits.maxConcurrentDispatches - state.inFlight;
  const limit = takeTokens(state.bucket, Math.max(0, Math.min(slots, open)), nowMs);
  if (limit === 0) return null;
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

/**
 * Learns from what a claim brought: cursors move past it, but never past what was told while it was
 * under way; where it brought less than asked for, there is no more.
 */
export function answerClaim(
  state: QueueState,
  claim: QueueClaim,
  taken: readonly { rank: number; seq: string }[],
  nowMs: number,
): void {
  giveBack(state, claim.limit - taken.length, nowMs);
  if (taken.length < claim.limit) state.cursors.clear();
  for (const { rank, seq } of taken) {
    const after = state.cursors.get(rank);
    if (after !== undefined && BigInt(seq) > after) state.cursors.set(rank, BigInt(seq));
  }
  for (const [rank, seq] of state.news) {
    const after = state.cursors.get(rank);
    if (after === undefined || seq <= after) state.cursors.set(rank, seq - 1n);
  }
}

/** Dispatches that did not come about: their tokens and places are free again. */
export function giveBack(state: QueueState, count: number, nowMs: number): void {
  if (count <= 0) return;
  state.inFlight -= count;
  returnTokens(state.bucket, count, nowMs);
}

/** Seconds until the rate lets another dispatch through. */
export function secondsUntilOpen(state: QueueState, nowMs: number): number {
  return secondsUntilToken(state.bucket, nowMs);
}

function rateOf({ settings: { rateLimits } }: QueueRecord) {
  return { ratePerSecond: rateLimits.maxDispatchesPerSecond, burst: rateLimits.maxBurstSize };
}
