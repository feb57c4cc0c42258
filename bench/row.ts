/**
 * A row: one way of making the same signed calls. Each runs in a process of its own (`row-process.ts`;
 * Errand's is its service), so that its processor time and its memory can be told from the others'.
 */
export const ROWS = [
  'plain-loop',
  'fast-loop',
  'errand',
  'graphile-worker',
  'pg-boss',
  'bullmq',
] as const;
export type RowName = (typeof ROWS)[number];

/** What a row's process is started with. */
export interface RowSettings {
  targetUrl: string;
  /** Of the peers' Postgres. */
  databaseUrl: string | null;
  redisPort: number | null;
}

/** What a row can be asked for. One without a queue keeps nothing: it has only `drain`. */
export interface RowVerbs {
  /** Enqueues tasks by the thousand, nothing being dispatched; returns when they are durable. */
  fill?(tasks: number): Promise<void>;
  /** Dispatches what `fill` has left (or, without a queue, makes as many calls); returns when all have ended. */
  drain(tasks: number): Promise<void>;
  /** From here on, tasks are dispatched as they come. */
  listen?(): Promise<void>;
  /** Enqueues one task, to be dispatched at once. */
  enqueue?(): Promise<Enqueue>;
  /** Ends what `listen` has begun. */
  leave?(): Promise<void>;
}

/** One enqueue, in ns of the machine's monotonic clock. */
export interface Enqueue {
  taskId: string;
  sentNs: bigint;
  /** When it was known to be kept. */
  acknowledgedNs: bigint;
}

/** What a peer enqueues in one statement, and how many of those are under way. */
export const BATCH = 1_000;
export const BATCHES_IN_FLIGHT = 3;

/** Calls `send` with the size of each batch, a few at a time. */
export async function inBatches(tasks: number, send: (size: number) => Promise<unknown>) {
  let left = tasks;
  const lane = async () => {
    while (left > 0) {
      const size = Math.min(left, BATCH);
      left -= size;
      await send(size);
    }
  };
  await Promise.all(Array.from({ length: BATCHES_IN_FLIGHT }, lane));
}
