import type { Log } from '../log.ts';
import type { ClaimedTask, QueueRecord, Settlement } from '../model.ts';
import { findLeases } from '../store/claim.ts';
import type { Database } from '../store/database.ts';
import { lostAttempt } from './deliver.ts';

const BATCH = 500;

export interface LostAttemptsOptions {
  database: Database;
  /** Ours to look after. */
  shards: () => number[];
  /** Their settings; of another pool's queue there are none. */
  queues: (ids: number[]) => Promise<Map<number, QueueRecord>>;
  /** True while we are at work on it, or on its settlement. */
  isInHand: (leaseId: string) => boolean;
  settle: (settlement: Settlement) => Promise<boolean>;
  /** The database's time, in milliseconds. */
  databaseNow: () => number;
  log: Log;
}

/**
 * Settles what others left behind: leases past their end, or of a dispatcher that is gone. Each is an
 * attempt of which nothing is known, retried with backoff.
 */
export function createLostAttempts(options: LostAttemptsOptions): () => Promise<void> {
  async function settleLost(): Promise<void> {
    const shards = options.shards();
    if (shards.length === 0) return;
    const leases = await options.database.run((sql) =>
      findLeases(sql, { shards, limit: BATCH, of: 'lost' }),
    );
    const queues = await options.queues(leases.map(({ queue }) => queue));
    const isLost = ({ leaseId, queue }: ClaimedTask) =>
      !options.isInHand(leaseId) && queues.has(queue);
    const settled = await Promise.all(
      leases.filter(isLost).map((task) => {
        return options.settle(lostAttempt(task, queues.get(task.queue)!, options.databaseNow()));
      }),
    );
    const count = settled.filter(Boolean).length;
    if (count > 0) options.log.warn({ tasks: count }, 'lost attempts settled');
    if (leases.length === BATCH && count > 0) await settleLost();
  }

  return settleLost;
}
