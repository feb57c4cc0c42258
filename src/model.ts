/**
 * The nouns of Errand, as the service's own rooms pass them to one another. What users see of them is
 * `protocol/resources.ts`; how they lie on disk is `migrations/`.
 *
 * ```text
 *                enqueue            due                claim              200
 *   (nothing) ──────────▶ scheduled ─────▶ ready ─────────────▶ leased ─────────▶ succeeded
 *                  │                         ▲  ▲                │  │ │
 *                  └─────────────────────────┘  └─── release ────┘  │ ├─ out of attempts, fatal ─▶ failed
 *                                    ▲                              │ │
 *                                    │       retry · continue       │ └─ cancel was asked ───────▶ cancelled
 *                                scheduled ◀────────────────────────┘
 * ```
 * A task that is scheduled or ready can also be cancelled, and one past its expire time fails.
 */
import type {
  BusinessCalendar,
  FlowLimits,
  Outcome,
  QueueSettings,
  RetryPolicy,
  SettlementKind,
} from './protocol/resources.ts';

export type { Outcome, QueueSettings, RetryPolicy, SettlementKind };

/** Slices of the queues. Fixed for a database's life: a queue's shard is stored and is part of ids. */
export const SHARDS = 64;

export const DEFAULT_PROJECT = 'default';
export const DEFAULT_QUEUE = 'default';
export const DEFAULT_POOL = 'default';

/** Cloud Tasks' defaults, but for success (only 200) and retention. */
export const DEFAULT_QUEUE_SETTINGS: QueueSettings = {
  rateLimits: {
    maxDispatchesPerSecond: 500,
    maxBurstSize: 100,
    maxConcurrentDispatches: 1000,
  },
  retry: {
    maxAttempts: 100,
    minBackoffSeconds: 0.1,
    maxBackoffSeconds: 3600,
    maxDoublings: 16,
    maxRetryDurationSeconds: null,
  },
  dispatchDeadlineSeconds: 600,
  successStatus: '200',
  audience: null,
  target: { baseUrl: null, headers: {} },
  retentionSeconds: 604_800,
  nameRetentionSeconds: 3_600,
  flow: null,
  weight: 1,
  pool: DEFAULT_POOL,
  maxBacklog: null,
  activeWindows: [],
  businessDaysOnly: null,
  circuitBreaker: { minCalls: 50, failureShare: 0.7, openSeconds: 30 },
};

/** Fields that a queue's `flow` leaves out; none of them limits anything. */
export const DEFAULT_FLOW_LIMITS: FlowLimits = {
  maxDispatchesPerSecond: null,
  maxBurstSize: 1,
  maxConcurrentDispatches: null,
  ordered: false,
};

/** A business calendar with the name it is kept under. */
export interface NamedCalendar extends BusinessCalendar {
  name: string;
}

/** A queue as the store gives it. */
export interface QueueRecord {
  /** Internal number; users know the (project, name) pair. */
  id: number;
  project: string;
  name: string;
  shard: number;
  pool: string;
  /** Raised by every change, so that a claim made with old settings yields nothing. */
  version: number;
  settings: QueueSettings;
  /** The calendar that `businessDaysOnly` names; null without one. */
  calendar: NamedCalendar | null;
  paused: boolean;
  /** True while the rows of a purge, or of a deleted queue, are still being removed. */
  isPurging: boolean;
  /** When it was last given to another pool: its bucket was not handed over then. */
  poolChangedAt: Date | null;
  /** What its Standard Webhooks signatures are made with, still sealed; mostly none. */
  webhookSecrets: WebhookSecretRecord[];
  createdAt: Date;
  updatedAt: Date;
}

/** A secret of a queue's webhooks, as its row holds it. */
export interface WebhookSecretRecord {
  id: string;
  /** RFC 3339. */
  createdAt: string;
  /** `whsec_…`, or the envelope that a master key wrapped it in. */
  secret: unknown;
}

/** Where a task's next row will be found: what a wake-up tells the owner of the shard. */
export interface WakeUp {
  shard: number;
  queue: number;
  /** −priority. */
  rank: number;
  /** The lowest sequence number made ready, as a decimal string; null when it is only scheduled. */
  seq: string | null;
  /** Seconds from now until it is due; 0 for a ready task. */
  dueInSeconds: number;
  /** A task that was cancelled or removed while it waited: nothing is ready or due, but its key may be free. */
  ended?: { taskId: string; flowKey: string };
}

/** What api and dispatch have of each other besides Postgres: both get it from main. */
export type Wake = (wakeUps: readonly WakeUp[]) => void;

/**
 * Asked before a task is enqueued: whether the owner of its queue is at hand, and wants it at once. Null
 * = it becomes ready, like any other.
 */
export type Reserve = (task: {
  shard: number;
  queue: number;
  rank: number;
  flowKey: string | null;
}) => Reservation | null;

/** By what right a task may be leased in the statement that enqueues it. */
export interface LeaseGrant {
  pool: string;
  dispatcher: number;
  epoch: string;
  /** Its number among the claims of the dispatcher: where its answer is lost, what came of it. */
  claim: number;
  /** The queue's version that its limits were read from. */
  version: number;
  /** No task of its rank may lie in `ready` behind this place: it would come first. */
  afterSeq: string;
  /** Used where the task names none. */
  dispatchDeadlineSeconds: number;
  leaseMarginSeconds: number;
}

/** A token, a place and a slot that the owner keeps for one task. Ends with one of the three, once. */
export interface Reservation {
  grant: LeaseGrant;
  /** It was committed, and leased: the owner dispatches it. */
  take(task: ClaimedTask): void;
  /** Nothing was leased. */
  release(): void;
  /** Nobody knows whether it was: the owner finds out. */
  lose(): void;
}

/** What a task's row says where its project encrypts: then its body is ciphertext, too. */
export interface Seal {
  /** The data key that headers and body are encrypted with. */
  dataKey: number;
  /** The headers, encrypted as one text; null when it has none. */
  headers: string | null;
}

/** One attempt in hand: everything needed to dispatch it, and to settle it. */
export interface ClaimedTask {
  shard: number;
  taskId: string;
  leaseId: string;
  queue: number;
  step: number;
  /** This attempt's number within the step, from 1. */
  attempt: number;
  rank: number;
  seq: string;
  name: string | null;
  flowKey: string | null;
  url: string;
  method: string;
  /** Empty while it is sealed. */
  headers: Record<string, string>;
  contentType: string | null;
  /** Ciphertext while it is sealed. */
  body: Uint8Array;
  /** Null: headers and body are as they are to be sent. */
  seal: Seal | null;
  retry: Partial<RetryPolicy>;
  dispatchDeadlineSeconds: number | null;
  retentionSeconds: number | null;
  /** When it was due (database time). */
  scheduledAt: Date;
  /** Seconds since the first attempt of this step began, by the database's clock; 0 on the first. */
  secondsSinceFirstAttempt: number;
  /** True when it is past its expire time and must not be dispatched. */
  isExpired: boolean;
  previousStatus: number | null;
}

/** What one attempt came to, and what was decided: the only input of `settleTasks`. */
export interface Settlement {
  shard: number;
  taskId: string;
  leaseId: string;
  queue: number;
  step: number;
  attempt: number;
  name: string | null;
  retentionSeconds: number;
  nameRetentionSeconds: number;
  /** Null when nothing was dispatched (the task had expired): then there is no attempt to log. */
  outcome: Outcome | null;
  status: number | null;
  error: string | null;
  durationMs: number;
  decision: Decision;
}

/** What we decide from an outcome. `progress` is what the worker told with its answer, if anything. */
export type Decision =
  | { kind: 'succeed'; output: Output | null; progress: number | null }
  | { kind: 'retry'; delaySeconds: number }
  | {
      kind: 'continue';
      payload: Uint8Array;
      delaySeconds: number;
      progress: number | null;
      url: string | null;
      /** The task's own Authorization header does not follow it to another origin. */
      dropAuthorization: boolean;
      /** Of a sealed task: the headers to go on with, where they are others; see Seal. */
      sealedHeaders?: string;
    }
  | { kind: 'fail'; reason: string; output: Output | null };

/** The answer of a finished task, cut at `LIMIT.outputBytes`. */
export interface Output {
  body: Uint8Array;
  contentType: string | null;
  fileName: string | null;
  isTruncated: boolean;
}
