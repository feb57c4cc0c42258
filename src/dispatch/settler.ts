import { setTimeout as delay } from 'node:timers/promises';
import type { Log } from '../log.ts';
import type { Settlement, WakeUp } from '../model.ts';
import type { Database } from '../store/database.ts';
import { isDatabaseAway } from '../store/errors.ts';
import { settleTasks } from '../store/settle.ts';
import { createShardBatcher } from './shard-batcher.ts';

export interface Settler {
  /** Writes one settlement, with others of its shard; false when the lease had been lost. */
  settle(settlement: Settlement): Promise<boolean>;
  /** Settlements not yet written. */
  pending(): number;
  /** From now on a failure is final instead of being tried again. */
  stopRetrying(): void;
}

/** Bytes travel as hex: a statement of this size is still well within its time bound. */
const MAX_BATCH_BYTES = 4 * 1024 * 1024;
const RETRY_DELAY_MS = 200;

/**
 * Settles in batches, one statement in flight a shard. While the database is away it goes on trying:
 * the answers are known, and to drop them would mean calling the targets again. Repeating a batch whose
 * outcome is unknown is safe, for what it wrote already has no lease any more.
 */
export function createSettler(options: {
  database: Database;
  log: Log;
  onWakeUps: (wakeUps: WakeUp[]) => void;
}): Settler {
  const { database, log, onWakeUps } = options;
  let pending = 0;
  let retries = true;
  const write = createShardBatcher<Settlement, boolean>({
    run: settleBatch,
    maxBytes: MAX_BATCH_BYTES,
    bytesOf,
  });

  async function settleBatch(shard: number, settlements: Settlement[]): Promise<boolean[]> {
    for (;;) {
      try {
        const settled = await database.run((sql) => settleTasks(sql, shard, settlements));
        if (settled.wakeUps.length > 0) onWakeUps(settled.wakeUps);
        return settlements.map(({ leaseId }) => settled.leaseIds.has(leaseId));
      } catch (error) {
        if (!retries || !isDatabaseAway(error)) throw error;
        await delay(RETRY_DELAY_MS);
      }
    }
  }

  return {
    async settle(settlement) {
      pending += 1;
      try {
        return await write(settlement);
      } catch (error) {
        // The lease stays, and the attempt will be taken for lost when it ends.
        log.error({ task: settlement.taskId, error }, 'settlement failed');
        return false;
      } finally {
        pending -= 1;
      }
    },
    pending: () => pending,
    stopRetrying() {
      retries = false;
    },
  };
}

/** What a settlement carries besides its few fixed fields. */
function bytesOf({ decision }: Settlement): number {
  switch (decision.kind) {
    case 'succeed':
    case 'fail':
      return decision.output?.body.length ?? 0;
    case 'continue':
      return decision.payload.length;
    case 'retry':
      return 0;
  }
}
