/** A queue that shares the slots of its dispatcher with others. */
export interface SharingQueue<Id> {
  /** Its own among the queues of a call. */
  id: Id;
  /** Its share, relative to the others': any number above 0, fractions allowed. */
  weight: number;
  /** How many slots it could use now: whole, 0 or more, Infinity allowed. */
  wants: number;
}

export interface RankedQueue<Id> extends SharingQueue<Id> {
  /** Higher first. */
  queuePriority: number;
}

/**
 * Shares free slots between queues by weight: deficit round robin, one round a call. Each queue that wants
 * slots is due its part by weight, and what it can't use goes to the others by theirs. Slots are whole, so
 * what a queue got too little (or, below 0, too much) is kept in `credit` for the next round: one slot at
 * a time, weights 2 and 1 still get 2/3 and 1/3 of the slots that both want, and nobody starves.
 *
 * Returns the slots of each queue, 0 included: never more than it wants, in all as many as there are and
 * are wanted. Changes the credit of the queues that want slots when there are too few for all. A queue
 * keeps its credit while it wants nothing, so it loses nothing when it does not want in every round; delete
 * the credit of a queue with the queue. O(n log n) for n queues. Throws a RangeError for a weight that is
 * not above 0 or a `wants` below 0.
 * Source: Shreedhar and Varghese, "Efficient Fair Queuing Using Deficit Round-Robin", 1995.
 *
 * @example
 * ```ts
 * const queues = [
 *   { id: 'a', weight: 2, wants: 10 },
 *   { id: 'b', weight: 1, wants: 10 },
 * ];
 * const credit = new Map();
 * shareSlots(queues, 4, credit); // Map { 'a' => 3, 'b' => 1 }
 * shareSlots(queues, 2, credit); // Map { 'a' => 1, 'b' => 1 }
 * ```
 */
export function shareSlots<Id>(
  queues: readonly SharingQueue<Id>[],
  slots: number,
  credit: Map<Id, number>,
): Map<Id, number> {
  queues.forEach(checkQueue);
  const whole = Math.max(0, Math.floor(slots));
  const given = new Map<Id, number>();
  let wanted = 0;
  for (const { id, wants } of queues) {
    // More than there are makes no difference, and Infinity could not be reckoned with.
    given.set(id, Math.min(Math.floor(wants), whole));
    wanted += given.get(id)!;
  }
  if (wanted <= whole) return given;

  const contenders = queues.map(({ id, weight }) => ({ id, weight, wants: given.get(id)! }));
  const claims = claimsOf(
    contenders.filter(({ wants }) => wants > 0),
    whole,
    credit,
  );
  for (const [id, count] of splitByDue(claims, whole)) given.set(id, count);
  for (const { id, due } of claims) credit.set(id, due - given.get(id)!);
  return given;
}

/**
 * Shares slots by strict priority: the queues of a lower `queuePriority` get only what those of a higher
 * one can't use, and may starve. Queues of the same priority share by weight; see `shareSlots`.
 */
export function shareStrictly<Id>(
  queues: readonly RankedQueue<Id>[],
  slots: number,
  credit: Map<Id, number>,
): Map<Id, number> {
  const levels = Map.groupBy(queues, ({ queuePriority }) => queuePriority);
  const given = new Map<Id, number>();
  let left = slots;
  for (const priority of [...levels.keys()].sort((one, other) => other - one)) {
    for (const [id, count] of shareSlots(levels.get(priority)!, left, credit)) {
      given.set(id, count);
      left -= count;
    }
  }
  return given;
}

/** What a queue is due in this round: its part by weight, and its credit. Below 0 if it is ahead. */
interface Claim<Id> {
  id: Id;
  wants: number;
  due: number;
}

/** Each queue's part: its weight's, or all it wants where that is less, and then the rest is shared again. */
function claimsOf<Id>(
  queues: readonly SharingQueue<Id>[],
  slots: number,
  credit: ReadonlyMap<Id, number>,
): Claim<Id>[] {
  // Who wants least for its weight comes first, so the first that can't have all it wants ends the search.
  const byNeed = queues.toSorted(
    (one, other) => one.wants / one.weight - other.wants / other.weight,
  );
  const weightsFrom = sumsFrom(byNeed.map(({ weight }) => weight));
  let left = slots;
  let weightOfShort: number | undefined;
  return byNeed.map(({ id, weight, wants }, index) => {
    const fair = left * (weight / (weightOfShort ?? weightsFrom[index]!));
    if (wants > fair) weightOfShort ??= weightsFrom[index]!;
    if (weightOfShort === undefined) left -= wants;
    const part = weightOfShort === undefined ? wants : fair;
    return { id, wants, due: part + (credit.get(id) ?? 0) };
  });
}

/** The sum of each value and all after it. Added, never subtracted: tiny values stay beside huge ones. */
function sumsFrom(values: readonly number[]): number[] {
  const sums = [...values];
  for (let index = sums.length - 2; index >= 0; index -= 1) sums[index]! += sums[index + 1]!;
  return sums;
}

/**
 * Slot after slot to whoever is due most, as if one by one: every claim is brought down to the same level
 * by whole slots, and the few that remain go to the largest fractions. Serving the one due most keeps
 * credits small: while the same n queues compete, nobody is short of more than about ln n slots.
 */
function splitByDue<Id>(claims: readonly Claim<Id>[], slots: number): Map<Id, number> {
  const level = lowestLevel(claims, slots);
  const given = new Map(claims.map((claim) => [claim.id, slotsAbove(level, claim)]));
  const left = slots - [...given.values()].reduce((sum, count) => sum + count, 0);
  const fractions = claims
    .filter((claim) => slotsAbove(level - 1, claim) > given.get(claim.id)!)
    .sort((one, other) => other.due - given.get(other.id)! - (one.due - given.get(one.id)!));
  for (const { id } of fractions.slice(0, left)) given.set(id, given.get(id)! + 1);
  return given;
}

/** The lowest whole level above which the claims are no more than the slots. */
function lowestLevel<Id>(claims: readonly Claim<Id>[], slots: number): number {
  // At the low end everybody gets all they want, which is too much; at the high end nobody gets anything.
  let low = Number.POSITIVE_INFINITY;
  let high = Number.NEGATIVE_INFINITY;
  for (const { due, wants } of claims) {
    low = Math.min(low, Math.floor(due - wants));
    high = Math.max(high, Math.ceil(due));
  }
  while (high - low > 1) {
    const middle = Math.floor((low + high) / 2);
    const total = claims.reduce((sum, claim) => sum + slotsAbove(middle, claim), 0);
    if (total <= slots) high = middle;
    else low = middle;
  }
  return high;
}

/** How many slots bring a claim down to a level, as far as it wants them. */
function slotsAbove<Id>(level: number, { due, wants }: Claim<Id>): number {
  return Math.min(Math.max(Math.floor(due - level), 0), wants);
}

function checkQueue<Id>({ id, weight, wants }: SharingQueue<Id>): void {
  if (!(weight > 0 && Number.isFinite(weight))) {
    throw new RangeError(`weight of queue ${id} must be a number above 0, got ${weight}`);
  }
  if (!(wants >= 0)) throw new RangeError(`wants of queue ${id} must be 0 or more, got ${wants}`);
}
