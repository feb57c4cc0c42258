import type { Log } from '../log.ts';
import type { Database } from '../store/database.ts';
import { type OwnersStatus, writeQueueStatus } from '../store/queue-status.ts';
import type { QueueState } from './queue-state.ts';

/** Writes what the owner has to say of a queue; what another owns by now is the other's to tell of. */
export function createQueueStatusWriter(options: {
  database: Database;
  dispatcher: () => number;
  log: Log;
}): (state: QueueState, status: OwnersStatus) => void {
  const { database, log } = options;
  return ({ record: { id: queue }, isDropped }, status) => {
    if (isDropped) return;
    const dispatcher = options.dispatcher();
    database
      .run((sql) => writeQueueStatus(sql, dispatcher, [{ queue, status }]))
      .catch((error) => log.warn({ queue, code: error.code }, 'queue status not written'));
  };
}
