import type { ClaimedTask, WakeUp } from '../model.ts';
import type { Database } from '../store/database.ts';
import { parkTasks } from '../store/park.ts';
import { releaseTasks } from '../store/release.ts';
import type { QueueState } from './queue-state.ts';
import { createShardBatcher, withFirst } from './shard-batcher.ts';

/**
 * Gives one claim back undispatched, with others of its shard; returns the wake-ups of those that went
 * with it. A holder that waits for its origin holds its flow key for `delaySeconds` (default 0).
 */
export type Releaser = (
  task: ClaimedTask,
  state: QueueState,
  delaySeconds?: number,
) => Promise<WakeUp[]>;

/**
 * Gives claims back in batches: hundreds may wait for a slot when a dispatcher leaves or is no longer
 * certain of its shards. A task with a flow key is parked: in `ready` it would come after those of its
 * key that are parked. Rejects when the database is away: its leases are found as lost when they end.
 */
export function createReleaser(options: {
  database: Database;
  monotonic: () => number;
  onParked: (state: QueueState) => void;
}): Releaser {
  const { database, monotonic } = options;
  const release = createShardBatcher<ClaimedTask, WakeUp[]>({
    async run(shard, tasks) {
      return withFirst(tasks, await database.run((sql) => releaseTasks(sql, shard, tasks)));
    },
  });
  const park = createShardBatcher<ClaimedTask & { isHolder: boolean }, void>({
    async run(shard, tasks) {
      await database.run((sql) => parkTasks(sql, shard, tasks));
      return tasks.map(() => undefined);
    },
  });

  return async (task, state, delaySeconds = 0) => {
    if (state.flow === null || task.flowKey === null) return release(task);
    state.flow.undo(task, monotonic());
    await park({ ...task, isHolder: state.flow.isHolder(task) });
    // Its limits may have been dropped meanwhile.
    state.flow?.noteParked(task, monotonic(), delaySeconds);
    options.onParked(state);
    return [];
  };
}
