import { setTimeout as delay } from 'node:timers/promises';
import type { Log } from '../log.ts';
import type { ClaimedTask } from '../model.ts';
import { findLeases } from '../store/claim.ts';
import type { Claimant } from '../store/claimed-rows.ts';
import type { Database } from '../store/database.ts';
import { isDatabaseAway } from '../store/errors.ts';
import type { Ownership } from './ownership.ts';

export interface ClaimRecovery {
  /** Finds what a claim took and has it undone. Goes on trying while the database is away. */
  recover(by: Claimant, undo: (tasks: ClaimedTask[]) => Promise<unknown>): Promise<void>;
  stop(): void;
}

export const FAILURE_DELAY_MS = 200;

/**
 * For claims of unknown outcome: the statement may have been committed, or may still run. A raised epoch
 * waits for it and stops it from beginning later; what it took is then found by its number and given
 * back, undispatched.
 */
export function createClaimRecovery(options: {
  database: Database;
  ownership: Ownership;
  log: Log;
}): ClaimRecovery {
  const { database, ownership, log } = options;
  let isStopped = false;

  return {
    async recover({ shard, dispatcher, claim }, undo) {
      while (!isStopped) {
        try {
          await ownership.renew(shard);
          const which = { shards: [shard], limit: 10_000, dispatcher, claim };
          const leases = await database.run((sql) => findLeases(sql, which));
          if (leases.length > 0) await undo(leases);
          return;
        } catch (error) {
          if (!isDatabaseAway(error)) {
            // What it took, if anything, is found as lost when its lease ends.
            return log.error({ shard, error }, 'claim not recovered');
          }
          await delay(FAILURE_DELAY_MS);
        }
      }
    },
    stop() {
      isStopped = true;
    },
  };
}
