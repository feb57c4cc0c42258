import type { Log } from '../log.ts';
import type { QueueRecord } from '../model.ts';
import { isDatabaseAway } from '../store/errors.ts';
import type { ClaimedPlace, ReadyHead } from '../store/find-work.ts';
import {
  changeRecord,
  createQueueState,
  type Inheritance,
  noteReady,
  type QueueState,
} from './queue-state.ts';

export interface QueueDirectory {
  /** A ready task was found or told; its queue is loaded first where it is not known yet. */
  noteReady(head: ReadyHead): void;
  /** Reads these queues again: their settings may have changed. Never rejects: a failure is logged. */
  reload(ids: readonly number[]): Promise<void>;
  /** The settings of these queues, loaded where they are not known. */
  records(ids: readonly number[]): Promise<Map<number, QueueRecord>>;
  /** The queue, loaded where it is not known; null when it is not of this pool, or not on our shards. */
  state(id: number): Promise<QueueState | null>;
  /** The queue, if it is known by now. */
  known(id: number): QueueState | undefined;
  /** Queues on these shards. */
  onShards(shards: readonly number[]): QueueState[];
  /** How far each of them has been claimed. */
  claimedOn(shards: readonly number[]): ClaimedPlace[];
  /** Forgets the queues on these shards: another counts for them now. */
  drop(shards: readonly number[]): void;
}

export interface QueueDirectoryOptions {
  load: (ids: number[]) => Promise<QueueRecord[]>;
  pool: string;
  monotonic: () => number;
  log: Log;
  /** What the owner before us left of a queue; null when its shard is not ours. */
  inherit: (record: QueueRecord) => Inheritance | null;
  /** A queue became known, changed, or got something ready. */
  onChanged: (state: QueueState) => void;
  /** Queues that are no longer ours: lost with their shards, or moved to another pool. */
  onDropped: (states: QueueState[]) => void;
}

/** Where there are thousands, the first are claimed from while the rest is loaded. */
const LOAD_AT_ONCE = 250;

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
      const ids = [...wanted.keys()].slice(0, LOAD_AT_ONCE);
      try {
        await reload(ids);
      } catch (error) {
        noteFailure(error);
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

  /** The next look, or the next claim that yields nothing, makes it good. */
  function noteFailure(error: unknown): void {
    if (!isDatabaseAway(error)) options.log.error({ error }, 'queues not loaded');
  }

  async function reload(ids: readonly number[]): Promise<QueueRecord[]> {
    const records = await options.load([...new Set(ids)]);
    const ours = records.filter(({ pool }) => pool === options.pool);
    const gone = records.filter(({ pool }) => pool !== options.pool);
    drop(gone.flatMap(({ id }) => states.get(id) ?? []));
    for (const record of ours) learn(record);
    return ours;
  }

  function learn(record: QueueRecord): void {
    const known = states.get(record.id);
    if (known === undefined) {
      const inheritance = options.inherit(record);
      if (inheritance === null) return;
      states.set(record.id, createQueueState(record, options.monotonic(), inheritance));
    } else if (known.record.version !== record.version) {
      changeRecord(known, record, options.monotonic());
      options.onChanged(known);
    }
  }

  /** Calls in flight know it still, and what they tell of it must not bring it back. */
  function drop(dropped: QueueState[]): void {
    for (const state of dropped) {
      state.isDropped = true;
      states.delete(state.record.id);
    }
    if (dropped.length > 0) options.onDropped(dropped);
  }

  function onShards(shards: readonly number[]): QueueState[] {
    const wantedShards = new Set(shards);
    return [...states.values()].filter(({ record }) => wantedShards.has(record.shard));
  }

  return {
    noteReady: note,
    async reload(ids) {
      await reload(ids).catch(noteFailure);
    },
    async records(ids) {
      const known = ids.flatMap((id) => states.get(id)?.record ?? []);
      const unknown = ids.filter((id) => !states.has(id));
      const loaded = unknown.length > 0 ? await reload(unknown) : [];
      return new Map([...known, ...loaded].map((record) => [record.id, record]));
    },
    async state(id) {
      if (!states.has(id)) await reload([id]);
      return states.get(id) ?? null;
    },
    known: (id) => states.get(id),
    onShards,
    claimedOn: (shards) => onShards(shards).flatMap(claimedPlaces),
    drop: (shards) => drop(onShards(shards)),
  };
}

function claimedPlaces({ record, claimed }: QueueState): ClaimedPlace[] {
  const { shard, id } = record;
  return [...claimed].map(([rank, seq]) => ({ shard, queue: id, rank, seq: String(seq) }));
}
