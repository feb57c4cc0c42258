import type { Log } from '../log.ts';
import type { QueueRecord } from '../model.ts';
import { isDatabaseAway } from '../store/errors.ts';
import type { ReadyHead } from '../store/promote.ts';
import { changeRecord, createQueueState, noteReady, type QueueState } from './queue-state.ts';

export interface QueueDirectory {
  /** A ready task was found or told; its queue is loaded first where it is not known yet. */
  noteReady(head: ReadyHead): void;
  /** Reads these queues again: their settings may have changed. */
  reload(ids: readonly number[]): Promise<void>;
  /** The settings of these queues, loaded where they are not known. */
  records(ids: readonly number[]): Promise<Map<number, QueueRecord>>;
}

export interface QueueDirectoryOptions {
  load: (ids: number[]) => Promise<QueueRecord[]>;
  pool: string;
  monotonic: () => number;
  log: Log;
  /** A queue became known, changed, or got something ready. */
  onChanged: (state: QueueState) => void;
}

/** The queues that this dispatcher has met, loaded when first needed and again when they changed. */
export function createQueueDirectory(options: QueueDirectoryOptions): QueueDirectory {
  const states = new Map<number, QueueState>();
  // Queues on their way, with what was found in them meanwhile.
  const wanted = new Map<number, ReadyHead[]>();
  let isLoading = false;

  function note(head: ReadyHead): void {
    const state = states.get(head.queue);
    // No claim would find out that a closed queue was opened again, for none is sent: the look does.
    const isCurrent = head.version === undefined || head.version === state?.record.version;
    if (state !== undefined && isCurrent) {
      noteReady(state, head.rank, BigInt(head.seq));
      options.onChanged(state);
      return;
    }
    wanted.set(head.queue, [...(wanted.get(head.queue) ?? []), head]);
    if (!isLoading) void loadWanted();
  }

  async function loadWanted(): Promise<void> {
    isLoading = true;
    while (wanted.size > 0) {
      const ids = [...wanted.keys()];
      try {
        await reload(ids);
      } catch (error) {
        // The next look finds the same heads again.
        if (!isDatabaseAway(error))
          options.log.error({ error: String(error) }, 'queues not loaded');
      }
      for (const id of ids) {
        const heads = wanted.get(id) ?? [];
        wanted.delete(id);
        // Without the version: a queue that changes at every look must not be loaded for ever.
        if (states.has(id)) for (const head of heads) note({ ...head, version: undefined });
      }
    }
    isLoading = false;
  }

  async function reload(ids: readonly number[]): Promise<void> {
    for (const record of await options.load([...new Set(ids)])) {
      if (record.pool !== options.pool) continue;
      const known = states.get(record.id);
      if (known === undefined) {
        states.set(record.id, createQueueState(record, options.monotonic()));
      } else if (known.record.version !== record.version) {
        changeRecord(known, record, options.monotonic());
        options.onChanged(known);
      }
    }
  }

  return {
    noteReady: note,
    async reload(ids) {
      try {
        await reload(ids);
      } catch (error) {
        if (!isDatabaseAway(error)) throw error;
      }
    },
    async records(ids) {
      const unknown = ids.filter((id) => !states.has(id));
      if (unknown.length > 0) await reload(unknown);
      return new Map(
        ids.flatMap((id) => {
          const state = states.get(id);
          return state === undefined ? [] : [[id, state.record] as const];
        }),
      );
    },
  };
}
