/** Resource shapes of the REST API: what goes in and what comes out, as TypeScript sees them. */

/** Where a task is in its life; see the state diagram in `model.ts`. */
export const TASK_STATES = [
  'scheduled',
  'ready',
  'leased',
  'succeeded',
  'failed',
  'cancelled',
] as const;
export type TaskState = (typeof TASK_STATES)[number];

/** How one attempt went: what happened, not what we made of it. */
export type Outcome = 'responded' | 'timed_out' | 'unreachable' | 'blocked' | 'lost';

/** What was decided from an outcome. */
export type SettlementKind = 'succeed' | 'retry' | 'continue' | 'fail' | 'cancel';

/** Backoff and limits of retries. Fields left out come from the queue, then from the defaults. */
export interface RetryPolicy {
  /** Attempts in all, the first included; −1 = unlimited. Default 100. */
  maxAttempts: number;
  /** Default 0.1. */
  minBackoffSeconds: number;
  /** Default 3600. */
  maxBackoffSeconds: number;
  /** How often the delay doubles before it grows linearly. Default 16. */
  maxDoublings: number;
  /** Counted from the first attempt; null = no limit. With both limits set, both must be reached. */
  maxRetryDurationSeconds: number | null;
}

export interface RateLimits {
  /** Default 500. Fractions are allowed. */
  maxDispatchesPerSecond: number;
  /** Default 100. */
  maxBurstSize: number;
  /** Default 1000. */
  maxConcurrentDispatches: number;
}

/** Body of `POST /v1/queues/{queue}/tasks`. */
export interface CreateTask {
  /** Absolute http(s) URL, or a path when the queue has `target.baseUrl`. */
  url?: string;
  /** The request's body as text (UTF-8). At most one of `payload` and `payloadBase64`. */
  payload?: string;
  payloadBase64?: string;
  /** Default `application/json` when the payload parses as JSON, else `text/plain; charset=utf-8`;
   * `application/octet-stream` for `payloadBase64`. */
  contentType?: string;
  /** Default POST. */
  method?: 'POST' | 'PUT' | 'PATCH' | 'DELETE' | 'GET' | 'HEAD';
  headers?: Record<string, string>;
  /** Unique within the queue while the task lives and for `nameRetentionSeconds` after. */
  name?: string;
  /** RFC 3339. At most one of `scheduleTime` and `delaySeconds`. */
  scheduleTime?: string;
  delaySeconds?: number;
  /** RFC 3339: the task fails rather than start an attempt after this. */
  expireTime?: string;
  /** −1000 … 1000, higher first. Default 0. */
  priority?: number;
  flowKey?: string;
  retry?: Partial<RetryPolicy>;
  dispatchDeadlineSeconds?: number;
  retentionSeconds?: number;
  owner?: string;
  labels?: Record<string, string>;
}

/** A task as the API shows it. Times are RFC 3339 UTC. */
export interface Task {
  id: string;
  queue: string;
  name: string | null;
  state: TaskState;
  url: string;
  method: string;
  headers: Record<string, string>;
  contentType: string | null;
  /** Only with `view=full`, and only one of the two: text where the bytes are UTF-8. */
  payload?: string;
  payloadBase64?: string;
  priority: number;
  flowKey: string | null;
  retry: Partial<RetryPolicy>;
  dispatchDeadlineSeconds: number | null;
  retentionSeconds: number | null;
  owner: string | null;
  labels: Record<string, string>;
  /** Number of the current step of a continuation, from 0. */
  step: number;
  /** Attempts dispatched so far in the current step, the one in flight included. */
  attempts: number;
  /** 0–100, as the worker last told; null if it never did. */
  progress: number | null;
  createdAt: string;
  /** When it is (or was first) due. */
  scheduledAt: string;
  expireTime: string | null;
  /** First dispatch of the current step. */
  startedAt: string | null;
  finishedAt: string | null;
  /** HTTP status of the latest answer. */
  lastStatus: number | null;
  /** Why it failed or was cancelled. */
  reason: string | null;
}

/** One dispatch of a task. */
export interface Attempt {
  /** The lease id. */
  id: string;
  step: number;
  /** From 1, within the step. */
  attempt: number;
  outcome: Outcome;
  settlement: SettlementKind;
  status: number | null;
  /** Bounded text that says what went wrong; null on success. */
  error: string | null;
  startedAt: string;
  finishedAt: string;
  durationSeconds: number;
  /** Set when the settlement is a retry. */
  nextAttemptAt: string | null;
}

/** Body of `PUT /v1/queues/{queue}`; `PATCH` takes any part of it. */
export interface QueueSettings {
  rateLimits: RateLimits;
  retry: RetryPolicy;
  /** Seconds one attempt may take: 1 … 86,400. Default 600. */
  dispatchDeadlineSeconds: number;
  /** Which statuses complete a task. Default `200`. */
  successStatus: '200' | '2xx';
  /** `aud` of the tokens; null = the target's origin. */
  audience: string | null;
  target: { baseUrl: string | null; headers: Record<string, string> };
  /** How long an ended task can be read. Default 604,800 (7 days). */
  retentionSeconds: number;
  /** How long a name stays taken after its task ended. Default 3,600. */
  nameRetentionSeconds: number;
  /** Limits for each `flowKey` by itself; null = tasks' flow keys mean nothing here. Default null. */
  flow: FlowLimits | null;
  /**
   * Share of a dispatcher's slots against its other queues, above 0 up to 1,000; with the strategy
   * `strict-priority`, the higher goes first. Default 1.
   */
  weight: number;
  /** The dispatchers that serve it. Default `default`. */
  pool: string;
  /** Waiting tasks (ready and scheduled) above which enqueueing answers 429; null = no limit. */
  maxBacklog: number | null;
  /** Tasks are dispatched only while one of these is open; empty = always. Default empty. */
  activeWindows: ActiveWindow[];
  /** Name of a business calendar: tasks are dispatched on its business days only. Default null. */
  businessDaysOnly: string | null;
  /** Holds calls to an origin that keeps failing; null = never. */
  circuitBreaker: CircuitBreakerSettings | null;
}

export interface FlowLimits {
  /** Per key; null = no limit. Fractions are allowed. */
  maxDispatchesPerSecond: number | null;
  /** Per key. Default 1. */
  maxBurstSize: number;
  /** Per key; null = no limit. */
  maxConcurrentDispatches: number | null;
  /** One at a time and in order; a task that waits for its retry holds its key. Default false. */
  ordered: boolean;
}

export const WEEKDAYS = ['mon', 'tue', 'wed', 'thu', 'fri', 'sat', 'sun'] as const;
export type Weekday = (typeof WEEKDAYS)[number];

/** A stretch of local time on some days; `end` at or before `start` lies on the next day. */
export interface ActiveWindow {
  days: Weekday[];
  /** `HH:MM`, local. */
  start: string;
  /** `HH:MM`, local, up to `24:00`. */
  end: string;
  /** IANA name, such as `Europe/Berlin`. */
  timeZone: string;
}

/** Body of `PUT /v1/calendars/{name}`. */
export interface BusinessCalendar {
  /** IANA name. */
  timeZone: string;
  /** `YYYY-MM-DD`. */
  holidays: string[];
  /** Default Saturday and Sunday. */
  weekend: Weekday[];
}

/** A business calendar as the API shows it. */
export interface Calendar extends BusinessCalendar {
  name: string;
  updatedAt: string;
}

export interface CircuitBreakerSettings {
  /** Calls to an origin within a minute before it is judged. Default 50. */
  minCalls: number;
  /** Share of them that failed at which it opens, above 0 up to 1. Default 0.7. */
  failureShare: number;
  /** Seconds until a probe is let through. Default 30. */
  openSeconds: number;
}

/** What the queue's owner last had to say of it. */
export interface QueueStatus {
  /** False when no live dispatcher serves the queue's pool. */
  isServed: boolean;
  /** Outside its windows or business days: when it opens again (RFC 3339). */
  closedUntil: string | null;
  /** Origins that are held, each with the time of the next probe. */
  openCircuits: { origin: string; probeAt: string }[];
  /** Share of its rate that the queue has while targets ask to be slowed down; 1 = all of it. */
  rateShare: number;
}

/** A dispatcher process, in `GET /v1/dispatchers`. */
export interface DispatcherInfo {
  id: number;
  pool: string;
  host: string;
  pid: number;
  startedAt: string;
  seenAt: string;
  shards: number[];
}

export interface Queue extends QueueSettings {
  name: string;
  paused: boolean;
  createdAt: string;
  updatedAt: string;
}

/** Counts are approximate above 10,000. */
export interface QueueStats {
  ready: number;
  scheduled: number;
  leased: number;
  oldestReadyAt: string | null;
}

/** A page of a list; `nextCursor` is null on the last page. */
export interface Page<Item> {
  items: Item[];
  nextCursor: string | null;
}

/** What an `Errand-Outcome: continue` answer carries as its JSON body. */
export interface Continuation {
  payload: string;
  delaySeconds?: number;
  progress?: number;
  url?: string;
}
