import { availableTokens, createBucket, type TokenBucket } from '../policy/rate.ts';
import type { FlowLimits } from '../protocol/resources.ts';

/** A task with a flow key, as far as its limits are concerned. */
export interface FlowTask {
  taskId: string;
  flowKey: string | null;
}

/** Parked tasks of one key that may be claimed: their tokens and places are taken. */
export interface FlowCall {
  flowKey: string;
  limit: number;
}

/** What was found of a queue's keys in the store: by a new owner, and whenever something is doubted. */
export interface FoundFlow {
  parkedKeys: readonly string[];
  /** Tasks that hold their keys and are not in flight. */
  held: readonly { flowKey: string; taskId: string; isParked: boolean }[];
  /** Calls in flight of an owner before us. */
  leases: readonly { flowKey: string; taskId: string }[];
}

/** What is known of one flow key of a queue. */
export interface FlowKey {
  /** Task ids in flight. */
  calls: Set<string>;
  /** Places promised to a claim from parked that is under way. */
  reserved: number;
  isCalling: boolean;
  bucket: TokenBucket | null;
  isParked: boolean;
  /** Something was parked since the last claim was sent, which it may not have seen. */
  hasNews: boolean;
  /** In an ordered flow: the task that has begun and not ended. */
  holder: string | null;
  isHolderParked: boolean;
  heldSinceMs: number;
}

export function createFlowKey(bucket: TokenBucket | null): FlowKey {
  return {
    calls: new Set(),
    reserved: 0,
    isCalling: false,
    bucket,
    isParked: false,
    hasNews: false,
    holder: null,
    isHolderParked: false,
    heldSinceMs: 0,
  };
}

/** A key's bucket that was empty at `emptyAtMs`; null when nothing limits its rate. */
export function createKeyBucket(limits: FlowLimits | null, emptyAtMs: number): TokenBucket | null {
  const rate = rateOf(limits);
  return rate === null ? null : createBucket(rate, emptyAtMs, 0);
}

export function rateOf(limits: FlowLimits | null) {
  if (limits === null || limits.maxDispatchesPerSecond === null) return null;
  return { ratePerSecond: limits.maxDispatchesPerSecond, burst: limits.maxBurstSize };
}

/** How many more of the key may be in flight; Infinity when nothing limits that. */
export function openPlaces(key: FlowKey, limits: FlowLimits | null): number {
  if (limits === null) return Number.POSITIVE_INFINITY;
  const most = limits.maxConcurrentDispatches ?? Number.POSITIVE_INFINITY;
  const places = limits.ordered ? Math.min(1, most) : most;
  return places - key.calls.size - key.reserved;
}

/** How many more of the key may be dispatched now. */
export function roomOf(key: FlowKey, limits: FlowLimits | null, nowMs: number): number {
  const { bucket } = key;
  const tokens = bucket === null ? Number.POSITIVE_INFINITY : availableTokens(bucket, nowMs);
  return Math.max(0, Math.min(openPlaces(key, limits), Math.floor(tokens)));
}

/** True while the task that holds the key lies where it can't be called from. */
export function isHeld(key: FlowKey, limits: FlowLimits | null): boolean {
  return limits?.ordered === true && key.holder !== null && !key.isHolderParked;
}

/** A call of the key begins. */
export function begin(key: FlowKey, limits: FlowLimits | null, taskId: string): void {
  key.calls.add(taskId);
  hold(key, limits, taskId);
}

export function hold(key: FlowKey, limits: FlowLimits | null, taskId: string): void {
  if (limits?.ordered !== true) return;
  key.holder = taskId;
  key.isHolderParked = false;
}

export function release(key: FlowKey): void {
  key.holder = null;
  key.isHolderParked = false;
}

/** Nothing would be lost if it were forgotten: a key that comes anew has a full bucket too. */
export function isIdle(key: FlowKey, nowMs: number): boolean {
  if (key.isParked || key.isCalling || key.holder !== null || key.calls.size > 0) return false;
  return key.bucket === null || availableTokens(key.bucket, nowMs) >= key.bucket.burst;
}
