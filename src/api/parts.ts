import type { Log } from '../log.ts';
import type { Wake } from '../model.ts';
import type { Database } from '../store/database.ts';
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
  /** Whether requests can be served now; `reason` is shown to whoever asks `/readyz`. */
  isReady(): Promise<Readiness>;
  log: Log;
  /** `errand dev`: loopback targets are allowed. Default false. */
  isDevelopment?: boolean;
}

export interface Readiness {
  ready: boolean;
  reason?: string;
}

/** What a file of routes gets: the parts, and what the routes share among themselves. */
export interface RouteParts extends ApiParts {
  queueCache: QueueCache;
}
