import type { Fault } from './faults.ts';

/** The queue that the walk and its tasks go through. */
export const QUEUE = 'checksums';

/** What the worker tells the demo, by IPC. */
export type FromWorker =
  | { kind: 'listening'; url: string }
  | { kind: 'seen'; seen: Seen }
  /** The call of a probe's task came, in ns of the machine's monotonic clock (JSON has no bigint). */
  | { kind: 'arrived'; taskId: string; at: string };

/** What the worker has seen so far. */
export interface Seen {
  /** Calls of `/walk` and `/checksum`. */
  calls: number;
  /** Directories and files whose checksums are in the store. */
  directories: number;
  files: number;
  /** Calls for a directory that was in the store already. */
  repeated: number;
  faults: Record<Fault, number>;
}

export function newSeen(): Seen {
  const faults = { 'status-500': 0, timeout: 0, dropped: 0 };
  return { calls: 0, directories: 0, files: 0, repeated: 0, faults };
}
