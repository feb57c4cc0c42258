import type { Log } from '../log.ts';
import type { Reserve, Wake } from '../model.ts';
import type { Database } from '../store/database.ts';
import type { Keyring } from '../store/keyring.ts';
import type { Vault } from '../store/vault.ts';
import type { KeyDirectory } from './key-directory.ts';
import type { QueueCache } from './queue-cache.ts';

/** What main hands to the API. */
export interface ApiParts {
  database: Database;
  /** `ERRAND_ADMIN_KEY`: may act in every project. At least 24 characters. */
  adminKey: string;
  /** `ERRAND_PUBLIC_URL`: the issuer's base. */
  publicUrl: string;
  /** Tells the dispatchers what became ready or scheduled, after the commit. */
  wake: Wake;
  /** Whether a new task may be dispatched as it is enqueued. Default: never. */
  reserve?: Reserve;
  /** Whether requests can be served now; `reason` is shown to whoever asks `/readyz`. */
  isReady(): Promise<Readiness>;
  log: Log;
  /** `errand dev`: loopback targets are allowed. Default false. */
  isDevelopment?: boolean;
  /**
   * Why a URL may not be called from this pool, for people, as far as it is known without calling it; null
   * when nothing is known against it. Default: nothing ever is.
   */
  targetRefusal?: (url: URL, pool: string) => string | null;
  /** Wraps the secrets that the API makes. Default: they are kept as they are. */
  vault?: Vault;
}

export interface Readiness {
  ready: boolean;
  reason?: string;
}

/** What a file of routes gets: the parts, and what the routes share among themselves. */
export interface RouteParts extends ApiParts {
  queueCache: QueueCache;
  keys: KeyDirectory;
  keyring: Keyring;
  vault: Vault;
}
