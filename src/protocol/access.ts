/**
 * What API keys may do, and how much projects may enqueue.
 */

/**
 * - `enqueue`: enqueue tasks.
 * - `read`: see queues, tasks, their payloads and outputs, calendars and dispatchers.
 * - `manage`: change and delete queues, tasks and calendars.
 * - `admin`: all of that, and the project's API keys and webhook secrets.
 */
export const KEY_SCOPES = ['enqueue', 'read', 'manage', 'admin'] as const;
export type KeyScope = (typeof KEY_SCOPES)[number];

/** Of a key that was made without any: all but `admin`, so that no key makes others unless it is told. */
export const DEFAULT_KEY_SCOPES: readonly KeyScope[] = ['enqueue', 'read', 'manage'];

/** A queue's name, or how names begin with a `*` at the end, such as `mail-*`. */
export const QUEUE_PATTERN = /^(?=.{1,100}$)(\*|[A-Za-z0-9_-]+\*?)$/;

export const KEY_LIMIT = {
  labelCharacters: 200,
  queues: 50,
  /** Ten years. */
  expiresInSeconds: 315_360_000,
} as const;

/** An API key as the API shows it. Its secret is in the answer that created it, and nowhere else. */
export interface ApiKeyInfo {
  id: string;
  label: string;
  scopes: KeyScope[];
  /** Null = every queue of the project. */
  queues: string[] | null;
  createdAt: string;
  /** Null = never. */
  expiresAt: string | null;
  /** To the minute; null = never. */
  lastUsedAt: string | null;
  revokedAt: string | null;
}

/** Body of `POST /v1/keys`. */
export interface CreateApiKey {
  label?: string;
  /** Default `DEFAULT_KEY_SCOPES`. */
  scopes?: KeyScope[];
  /** Default null: every queue. */
  queues?: string[] | null;
  /** Default null: never. */
  expiresInSeconds?: number | null;
}

/** What a project may enqueue, over all its queues; null = no limit. */
export interface ProjectQuotas {
  /** Waiting tasks (ready, scheduled, or held by their flow key). Default null. */
  maxBacklog: number | null;
  /** Tasks enqueued a second; fractions are allowed. Default null. */
  maxEnqueuesPerSecond: number | null;
  /** Tasks enqueued at once, above the rate. Default a second's worth, 1 at least. */
  maxEnqueueBurst: number | null;
}

/** A project as the API shows it. */
export interface Project {
  name: string;
  quotas: ProjectQuotas;
  /** Whether payloads and headers of new tasks are encrypted at rest. Default false. */
  encryptPayloads: boolean;
  createdAt: string;
}

/** A secret of a queue's Standard Webhooks signatures, without the secret itself. */
export interface WebhookSecret {
  id: string;
  createdAt: string;
}
