import type { WakeUp } from '../model.ts';
import type { Database, Sql } from './database.ts';

export const WAKE_CHANNEL = 'errand_wake';
/** Postgres takes payloads below 8,000 bytes; more news than fits is told as "look at everything". */
const MAX_PAYLOAD_BYTES = 7_900;
const EVERYTHING = '*';

/**
 * Tells dispatchers in other processes what was enqueued. Call it after the commit and do not wait for
 * it: what piles up behind a notification under way goes together in the next. It is a statement of its
 * own, for a NOTIFY inside the enqueue takes an instance-wide lock at its commit, and does not wait for
 * the disk, for nothing depends on it.
 */
export function createNotifier(database: Database): (wakeUps: readonly WakeUp[]) => void {
  const waiting = new Map<string, WakeUp>();
  let isSending = false;

  async function send(): Promise<void> {
    isSending = true;
    while (waiting.size > 0) {
      const payload = encode([...waiting.values()]);
      waiting.clear();
      // A notification that fails is made good by the next look of whoever owns the shard.
      await database.run((sql) => notify(sql, WAKE_CHANNEL, payload)).catch(() => undefined);
    }
    isSending = false;
  }

  return (wakeUps) => {
    for (const wakeUp of wakeUps) keepFirst(waiting, wakeUp);
    if (!isSending && waiting.size > 0) void send();
  };
}

/** Does not wait for the disk, for nothing depends on it. */
export async function notify(sql: Sql, channel: string, payload: string): Promise<void> {
  await sql`
    select set_config('synchronous_commit', 'off', true), pg_notify(${channel}, ${payload})
  `;
}

/** Of several tasks of one (queue, rank) only the lowest place, and the earliest due time, matter. */
function keepFirst(waiting: Map<string, WakeUp>, wakeUp: WakeUp): void {
  const key = `${wakeUp.queue}:${wakeUp.rank}:${wakeUp.seq === null}:${wakeUp.ended?.taskId}`;
  const known = waiting.get(key);
  const isFirst =
    known === undefined ||
    (wakeUp.seq === null || known.seq === null
      ? wakeUp.dueInSeconds < known.dueInSeconds
      : BigInt(wakeUp.seq) < BigInt(known.seq));
  if (isFirst) waiting.set(key, wakeUp);
}

type EncodedWakeUp = [number, number, number, string | null, number, WakeUp['ended']?];

function encode(wakeUps: WakeUp[]): string {
  const text = JSON.stringify(
    wakeUps.map(({ shard, queue, rank, seq, dueInSeconds, ended }) => [
      shard,
      queue,
      rank,
      seq,
      Math.round(dueInSeconds * 1000) / 1000,
      ...(ended === undefined ? [] : [ended]),
    ]),
  );
  return Buffer.byteLength(text) <= MAX_PAYLOAD_BYTES ? text : EVERYTHING;
}

/** Null for "look at everything", which is also the answer to what another version may send. */
export function decodeWakeUps(payload: string): WakeUp[] | null {
  if (payload === EVERYTHING) return null;
  try {
    const rows = JSON.parse(payload) as EncodedWakeUp[];
    return rows.map(([shard, queue, rank, seq, dueInSeconds, ended]) => ({
      shard,
      queue,
      rank,
      seq,
      dueInSeconds,
      ...(ended === undefined ? {} : { ended }),
    }));
  } catch {
    return null;
  }
}
