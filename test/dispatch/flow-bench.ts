import { DEFAULT_FLOW_LIMITS } from '../../src/model.ts';
import type { FlowLimits, QueueSettings } from '../../src/protocol/resources.ts';
import { putQueue } from '../../src/store/queue-change.ts';
import type { Bench } from '../support/dispatcher.ts';
import { until } from '../support/until.ts';

type Room = 'parked' | 'finished' | 'ready' | 'scheduled' | 'lease';

/** Gives the default queue these limits by flow key. */
export async function setFlow(
  { database, dispatcher }: Bench,
  flow: Partial<FlowLimits> | null,
  settings: Partial<QueueSettings> = {},
): Promise<void> {
  const limits = flow === null ? null : { ...DEFAULT_FLOW_LIMITS, ...flow };
  const queue = { project: 'default', name: 'default', settings: { ...settings, flow: limits } };
  await database.run((sql) => putQueue(sql, queue));
  dispatcher.lookNow();
}

/** A retry policy that comes back after this long, five times. */
export const retryEvery = (seconds: number) => ({
  maxAttempts: 5,
  minBackoffSeconds: seconds,
  maxBackoffSeconds: seconds,
  maxDoublings: 0,
  maxRetryDurationSeconds: null,
});

export async function countIn({ database }: Bench, table: Room): Promise<number> {
  const [row] = await database.run(
    (sql) => sql`select count(*)::integer as rows from ${sql(`errand.${table}`)}`,
  );
  return row!.rows;
}

export const untilRows = (bench: Bench, table: Room, rows: number, timeoutMs = 15_000) =>
  until(async () => (await countIn(bench, table)) === rows, {
    timeoutMs,
    what: `${rows} rows in ${table}`,
  });
