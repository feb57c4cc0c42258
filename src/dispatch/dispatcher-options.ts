import type { Log } from '../log.ts';
import type { QueueRecord } from '../model.ts';
import type { Database } from '../store/database.ts';
import type { Keyring } from '../store/keyring.ts';
import type { TargetRules } from './guard.ts';
import type { Signer } from './sign.ts';
import type { SharingStrategy } from './slot-sharing.ts';

/** What main hands to a dispatcher. */
export interface DispatcherOptions {
  database: Database;
  /**
   * For ownership alone, so that no heartbeat waits behind slow statements, or for connections that are lost with all
   * others: who is silent for too long is taken for dead. Default: `database`.
   */
  heartbeats?: Database | undefined;
  pool: string;
  host: string;
  pid: number;
  publicUrl: string;
  concurrency: number;
  takeoverMs: number;
  /** See OwnershipOptions. */
  isSole: boolean;
  /** How slots are shared between queues. Default `weighted`. */
  strategy?: SharingStrategy;
  /** Leaves every other queue alone, for a drain. Default: none is. */
  onlyQueue?: Pick<QueueRecord, 'id' | 'shard'>;
  /** Dispatches no more than this in all; what was told to run now comes on top. Default: no limit. */
  maxDispatches?: number;
  targetRules: TargetRules;
  proxy: string | null;
  ca: string | null;
  signerOf: (project: string) => Signer | Promise<Signer>;
  /** Opens what tasks carry, where their project encrypts. */
  keyring: Keyring;
  log: Log;
  monotonic?: () => number;
}
