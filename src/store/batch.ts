export interface BatchOptions<Item, Result> {
  /** Writes one batch; resolves to one result an item, in the same order. */
  run: (items: Item[]) => Promise<Result[]>;
  /** Items in one statement at most. */
  maxItems: number;
  /** Bytes in one statement at most, unless a single item has more. Default: any number. */
  maxBytes?: number;
  /** Bytes of an item; needed with `maxBytes`, and with `worthwhile` where items may be large. */
  bytesOf?: (item: Item) => number;
  /** Statements in flight at most. */
  maxInFlight: number;
  /** Beside a statement that is soon answered, another goes for so many items only. Default 1. */
  worthwhile?: number;
  /** After a failed batch of several: true = send its items one by one, so that a bad one fails alone. */
  isItemRefused?: (error: unknown) => boolean;
  /** After a failed batch: what everything that waits behind it is told, unsent. Default: null, it is sent. */
  refusalOfWaiting?: (error: unknown) => Error | null;
}

/** A statement of more bytes takes its time. */
const LIGHT_BYTES = 64 * 1024;

/**
 * Group commit: an item is sent at once while a statement is free, and what queues up behind the
 * statements in flight goes together in the next. Waiting to fill a batch made both latency and
 * throughput worse, so nothing ever waits on a timer. A statement costs as much as ten items, though, so few
 * may wait for the one under way: measured with 64 clients, 16 items in place of 1 gave 1.18 of the throughput.
 *
 * @example
 * const enqueue = createBatcher({ run: (tasks) => database.run((sql) => enqueueTasks(sql, tasks)), maxItems: 24, maxInFlight: 3 });
 * const result = await enqueue(task);
 */
export function createBatcher<Item, Result>(
  options: BatchOptions<Item, Result>,
): (item: Item) => Promise<Result> {
  const { worthwhile = 1, bytesOf = () => 0 } = options;
  const waiting: Waiting<Item, Result>[] = [];
  let inFlight = 0;
  let heavy = 0;

  function next(): void {
    while (inFlight < options.maxInFlight && waiting.length > 0 && isWorthwhile()) {
      const batch = takeBatch(options, waiting);
      const bytes = batch.reduce((sum, { item }) => sum + bytesOf(item), 0);
      const weight = bytes > LIGHT_BYTES ? 1 : 0;
      inFlight += 1;
      heavy += weight;
      void sendBatch({ ...options, run }, batch).finally(() => {
        inFlight -= 1;
        heavy -= weight;
        next();
      });
    }
  }

  function isWorthwhile(): boolean {
    return inFlight === heavy || waiting.length >= worthwhile;
  }

  async function run(items: Item[]): Promise<Result[]> {
    try {
      return await options.run(items);
    } catch (error) {
      const refusal = options.refusalOfWaiting?.(error) ?? null;
      if (refusal !== null) for (const { reject } of waiting.splice(0)) reject(refusal);
      throw error;
    }
  }

  return (item) =>
    new Promise((resolve, reject) => {
      waiting.push({ item, resolve, reject });
      next();
    });
}

/** An item that waits for its statement. */
export interface Waiting<Item, Result> {
  item: Item;
  resolve: (result: Result) => void;
  reject: (error: unknown) => void;
}

/** Takes from the front of what waits as much as may go in one statement: one item at least. */
export function takeBatch<Item, Result>(
  limits: Pick<BatchOptions<Item, Result>, 'maxItems' | 'maxBytes' | 'bytesOf'>,
  waiting: Waiting<Item, Result>[],
): Waiting<Item, Result>[] {
  return waiting.splice(0, batchSize(limits, waiting));
}

function batchSize<Item, Result>(
  {
    maxItems,
    maxBytes = Number.POSITIVE_INFINITY,
    bytesOf = () => 0,
  }: Pick<BatchOptions<Item, Result>, 'maxItems' | 'maxBytes' | 'bytesOf'>,
  waiting: readonly Waiting<Item, Result>[],
): number {
  const most = Math.min(maxItems, waiting.length);
  let bytes = 0;
  for (let size = 0; size < most; size += 1) {
    bytes += bytesOf(waiting[size]!.item);
    if (bytes > maxBytes) return Math.max(1, size);
  }
  return most;
}

/** Sends a batch and tells each item its result, or what went wrong. Never rejects. */
export async function sendBatch<Item, Result>(
  options: Pick<BatchOptions<Item, Result>, 'run' | 'isItemRefused'>,
  batch: Waiting<Item, Result>[],
): Promise<void> {
  try {
    const results = await options.run(batch.map((entry) => entry.item));
    for (const [index, entry] of batch.entries()) entry.resolve(results[index]!);
  } catch (error) {
    if (batch.length > 1 && options.isItemRefused?.(error)) {
      for (const entry of batch) await sendBatch(options, [entry]);
      return;
    }
    for (const entry of batch) entry.reject(error);
  }
}
