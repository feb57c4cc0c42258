import {
  availableTokens,
  changeRate,
  createBucket,
  returnTokens,
  secondsUntilToken,
  type TokenBucket,
  takeTokens,
} from '../policy/rate.ts';
import type { FlowLimits } from '../protocol/resources.ts';

/** What is known of one flow key of a queue. */
export interface FlowKey {
  name: string;
  /** Tasks in hand. A claimed one takes its token when its call begins, one outside the rate takes none. */
  calls: Map<string, 'claimed' | 'begun' | 'outside'>;
  /** Tokens and places promised to calls that have not begun, and to a claim from parked under way. */
  claimed: number;
  asked: number;
  bucket: TokenBucket | null;
  isParked: boolean;
  /** Something was parked since the last claim was sent, which it may not have seen. */
  hasNews: boolean;
  /** In an ordered flow: the task that has begun and not ended. */
  holder: string | null;
  isHolderParked: boolean;
  /** A holder that was put off is not called before. */
  heldUntilMs: number;
}

/**
 * A task is claimed so long before its key's token is there: about what a claim takes, so that a key is
 * called at its full rate. The call waits for the token in its slot, which costs the others next to
 * nothing: where slots are scarce, tokens are there before the slots.
 */
const AHEAD_SECONDS = 0.025;
/** What rounding may take from a whole token. */
const ROUNDING = 1e-9;

/** `emptyAtMs`: when its bucket was last empty, or as good as that. */
export function createFlowKey(name: string, limits: FlowLimits | null, emptyAtMs: number): FlowKey {
  const rate = rateOf(limits);
  return {
    name,
    calls: new Map(),
    claimed: 0,
    asked: 0,
    bucket: rate && createBucket(rate, emptyAtMs, 0),
    isParked: false,
    hasNews: false,
    holder: null,
    isHolderParked: false,
    heldUntilMs: 0,
  };
}

/** `emptyAtMs` is for a key that had no rate so far. */
export function changeKey(
  key: FlowKey,
  limits: FlowLimits | null,
  { emptyAtMs, nowMs }: { emptyAtMs: number; nowMs: number },
): void {
  const rate = rateOf(limits);
  if (rate === null) key.bucket = null;
  else if (key.bucket === null) key.bucket = createBucket(rate, emptyAtMs, 0);
  else changeRate(key.bucket, rate, nowMs);
  if (limits?.ordered !== true) releaseKey(key);
  else if (key.holder === null) for (const taskId of key.calls.keys()) holdKey(key, limits, taskId);
}

/** How many more of the key may be claimed now. */
export function roomOf(key: FlowKey, limits: FlowLimits | null, nowMs: number): number {
  const tokens = Math.floor(tokensAhead(key, nowMs) + ROUNDING);
  return Math.max(0, Math.min(openPlaces(key, limits), tokens));
}

/**
 * Seconds until a parked task of the key may be claimed; 0 = now, Infinity = not before something else
 * happens to the key, such as the end of a call.
 */
export function secondsUntilRoom(key: FlowKey, limits: FlowLimits | null, nowMs: number): number {
  const isShut = key.asked > 0 || isHeld(key, limits) || openPlaces(key, limits) < 1;
  if (!key.isParked || isShut) return Number.POSITIVE_INFINITY;
  if (nowMs < key.heldUntilMs) return (key.heldUntilMs - nowMs) / 1000;
  const { bucket } = key;
  const missing = 1 - tokensAhead(key, nowMs);
  if (bucket === null || missing <= ROUNDING) return 0;
  const most = bucket.burst + bucket.ratePerSecond * AHEAD_SECONDS;
  // Only the beginning of a promised call makes room then.
  if (key.claimed + 1 > most) return Number.POSITIVE_INFINITY;
  return missing / bucket.ratePerSecond;
}

/** True while the task that holds the key lies where it can't be called from. */
export function isHeld(key: FlowKey, limits: FlowLimits | null): boolean {
  return limits?.ordered === true && key.holder !== null && !key.isHolderParked;
}

/** A task of the key was claimed: in an ordered flow it holds its key from now on. */
export function takeInHand(key: FlowKey, limits: FlowLimits | null, taskId: string): void {
  key.calls.set(taskId, 'claimed');
  key.claimed += 1;
  holdKey(key, limits, taskId);
}

/** A call that no rate was asked for: told to run now, or of an owner before us. */
export function takeOutside(key: FlowKey, limits: FlowLimits | null, taskId: string): void {
  key.calls.set(taskId, 'outside');
  if (key.holder === null || key.holder === taskId) holdKey(key, limits, taskId);
}

/** Seconds until the call of a claimed task may begin. */
export function secondsUntilBegin({ bucket, calls }: FlowKey, taskId: string, nowMs: number) {
  if (bucket === null || calls.get(taskId) !== 'claimed') return 0;
  return secondsUntilToken(bucket, nowMs);
}

/** The call begins: now it takes its token. */
export function beginCall(key: FlowKey, taskId: string, nowMs: number): void {
  if (key.calls.get(taskId) !== 'claimed') return;
  key.calls.set(taskId, 'begun');
  key.claimed -= 1;
  if (key.bucket !== null) takeTokens(key.bucket, 1, nowMs);
}

/** The task is in hand no more; without a call its token is there again. */
export function letGo(
  key: FlowKey,
  taskId: string,
  { wasCalled, nowMs }: { wasCalled: boolean; nowMs: number },
): void {
  const stage = key.calls.get(taskId);
  key.calls.delete(taskId);
  if (stage === 'claimed') key.claimed -= 1;
  if (stage === 'begun' && !wasCalled && key.bucket !== null) returnTokens(key.bucket, 1, nowMs);
}

export function holdKey(key: FlowKey, limits: FlowLimits | null, taskId: string): void {
  if (limits?.ordered !== true) return;
  key.holder = taskId;
  key.isHolderParked = false;
  key.heldUntilMs = 0;
}

export function releaseKey(key: FlowKey): void {
  key.holder = null;
  key.isHolderParked = false;
  key.heldUntilMs = 0;
}

/** Nothing would be lost if it were forgotten: a key that comes anew has a full bucket too. */
export function isIdle(key: FlowKey, nowMs: number): boolean {
  if (key.isParked || key.asked > 0 || key.holder !== null || key.calls.size > 0) return false;
  return key.bucket === null || availableTokens(key.bucket, nowMs) >= key.bucket.burst;
}

/** For how many seconds its bucket has been filling, if it had been empty before; Infinity = it is full. */
export function fillingSeconds(key: FlowKey, nowMs: number): number {
  const { bucket } = key;
  if (bucket === null) return Number.POSITIVE_INFINITY;
  const level = availableTokens(bucket, nowMs) - key.claimed - key.asked;
  if (level >= bucket.burst) return Number.POSITIVE_INFINITY;
  return level / bucket.ratePerSecond - Math.max(0, bucket.changedAtMs - nowMs) / 1000;
}

function openPlaces(key: FlowKey, limits: FlowLimits | null): number {
  if (limits === null) return Number.POSITIVE_INFINITY;
  const most = limits.maxConcurrentDispatches ?? Number.POSITIVE_INFINITY;
  return (limits.ordered ? Math.min(1, most) : most) - key.calls.size - key.asked;
}

/** Tokens that are there when a claim sent now is answered, less those that are promised. */
function tokensAhead({ bucket, claimed, asked }: FlowKey, nowMs: number): number {
  if (bucket === null) return Number.POSITIVE_INFINITY;
  const ahead = bucket.ratePerSecond * AHEAD_SECONDS;
  return availableTokens(bucket, nowMs) + ahead - claimed - asked;
}

function rateOf(limits: FlowLimits | null) {
  if (limits === null || limits.maxDispatchesPerSecond === null) return null;
  return { ratePerSecond: limits.maxDispatchesPerSecond, burst: limits.maxBurstSize };
}
