import type { WakeUp } from '../model.ts';
import { sendBatch, takeBatch, type Waiting } from '../store/batch.ts';
import { isDatabaseAway } from '../store/errors.ts';

export interface ShardBatcherOptions<Item, Result> {
  /** Writes one batch; resolves to one result an item, in the same order. */
  run: (shard: number, items: Item[]) => Promise<Result[]>;
  /**
   * After a failed batch of several: true = send its items one by one. See createBatcher. Default: unless
   * the database is away.
   */
  isItemRefused?: (error: unknown) => boolean;
  /** Items in one statement at most. Default 300. */
  maxItems?: number;
  maxBytes?: number;
  bytesOf?: (item: Item) => number;
}

const MAX_ITEMS = 300;
/** Statements in flight at most, of all shards: fewer make each bring more. */
const MAX_IN_FLIGHT = 3;
/** Under load a batch waits for so many items, and no longer than this: measured at 15,000 tasks a second. */
const WORTHWHILE = 150;
const GATHER_MS = 10;
/** A batch of so many says that there is load. */
const LOADED = 4;

interface Lane<Item, Result> {
  waiting: Waiting<Item, Result>[];
  sinceMs: number;
}

/**
 * Group commit by shard, one statement in flight a shard, as createBatcher: what comes while nothing is
 * in flight goes at once. Only where batches are large already is the next one held back a little, for
 * the cost of a statement is mostly its own.
 */
export function createShardBatcher<Item extends { shard: number }, Result>({
  isItemRefused = (error) => !isDatabaseAway(error),
  maxItems = MAX_ITEMS,
  ...options
}: ShardBatcherOptions<Item, Result>): (item: Item) => Promise<Result> {
  // In the order in which their first item came.
  const lanes = new Map<number, Lane<Item, Result>>();
  const busy = new Set<number>();
  let isLoaded = false;
  let timer: NodeJS.Timeout | undefined;

  function next(): void {
    for (const [shard, lane] of lanes) {
      if (busy.size >= MAX_IN_FLIGHT) return;
      if (busy.has(shard)) continue;
      const waitMs = gatherMs(lane);
      if (waitMs <= 0) send(shard, lane);
      else wakeIn(waitMs);
    }
  }

  /** How much longer a batch is worth waiting for. */
  function gatherMs({ waiting, sinceMs }: Lane<Item, Result>): number {
    if (!isLoaded || waiting.length >= WORTHWHILE) return 0;
    return sinceMs + GATHER_MS - performance.now();
  }

  /** Of all that wait the oldest is met first, and the others are looked at again with it. */
  function wakeIn(waitMs: number): void {
    if (timer !== undefined) return;
    timer = setTimeout(() => {
      timer = undefined;
      next();
    }, Math.ceil(waitMs));
  }

  function send(shard: number, lane: Lane<Item, Result>): void {
    const batch = takeBatch({ ...options, maxItems }, lane.waiting);
    lanes.delete(shard);
    // What is left over has waited long enough.
    if (lane.waiting.length > 0) lanes.set(shard, { ...lane, sinceMs: Number.NEGATIVE_INFINITY });
    isLoaded = batch.length >= LOADED;
    busy.add(shard);
    const run = (items: Item[]) => options.run(shard, items);
    void sendBatch({ run, isItemRefused }, batch).finally(() => {
      busy.delete(shard);
      next();
    });
  }

  return (item) =>
    new Promise((resolve, reject) => {
      const lane = lanes.get(item.shard) ?? { waiting: [], sinceMs: performance.now() };
      lane.waiting.push({ item, resolve, reject });
      lanes.set(item.shard, lane);
      next();
    });
}

/** For batches that wake: their wake-ups come with the first item, so that each is heard once. */
export function withFirst(items: readonly unknown[], wakeUps: WakeUp[]): WakeUp[][] {
  return items.map((_, index) => (index === 0 ? wakeUps : []));
}
