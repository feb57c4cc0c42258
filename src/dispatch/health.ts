import type { Settlement } from '../model.ts';
import {
  type Breaker,
  createBreaker,
  judgeCall,
  mayCall,
  noteOutcome,
  recentCalls,
  withdrawProbe,
} from '../policy/breaker.ts';
import {
  createSlowdown,
  nextChangeMs,
  noteAnswer,
  rateShare,
  type Slowdown,
} from '../policy/slowdown.ts';
import type { OwnersStatus } from '../store/queue-status.ts';
import { callTarget } from './call-target.ts';
import { changeRateShare, type QueueState } from './queue-state.ts';

/** Whether a call may begin. What is not postponed has to come back by `note`. */
export type Admission =
  | { kind: 'call'; breaker: Breaker | null; isProbe: boolean }
  | { kind: 'postpone'; delaySeconds: number };

export interface Health {
  /** Asked right before a call. One that was told to run now is called even where others are held. */
  admit(state: QueueState, url: string, isForced: boolean): Admission;
  /** What an admitted call came to; null when it did not begin after all. */
  note(state: QueueState, admission: Admission, settlement: Settlement | null): void;
  /** No more timers. */
  stop(): void;
}

export interface HealthOptions {
  monotonic: () => number;
  /** The database's time, in milliseconds. */
  databaseNow: () => number;
  /** The queue may have become ready for more calls. */
  onChanged: (state: QueueState) => void;
  onStatus: (state: QueueState, status: OwnersStatus) => void;
}

interface QueueHealth {
  slowdown: Slowdown;
  /** By origin, the one called longest ago first. */
  breakers: Map<string, Breaker>;
  /** The breaker for whose sake the whole queue is held. */
  holder: Breaker | null;
  /** Tasks put off since a breaker last changed. */
  postponed: number;
  rateTimer: NodeJS.Timeout | undefined;
  statusTimer: NodeJS.Timeout | undefined;
  toldAtMs: number;
}

/** Beyond these the origin called longest ago is forgotten. */
const MAX_ORIGINS = 256;
/** A queue of which an origin gets this share of the calls is held as a whole while it is. */
const HOLD_SHARE = 0.9;
const STATUS_EVERY_MS = 1_000;
/** So many postponed tasks come back in a second: each that is put off again is a claim for nothing. */
const RETURNS_PER_SECOND = 100;
const MAX_SPREAD_SECONDS = 30;

/**
 * How the targets of each queue fare, and what follows: a queue slows down while they ask for it, and
 * calls to an origin that keeps failing are held. A task whose origin is held is put off and loses no
 * attempt. Where nearly all of a queue goes there, the queue is held instead: its backlog stays where
 * it is, but for one probe at a time.
 */
export function createHealth(options: HealthOptions): Health {
  const { monotonic } = options;
  // Ends with the state: it is made anew when the queue comes back from another owner.
  const known = new WeakMap<QueueState, QueueHealth>();
  let isStopped = false;

  function healthOf(state: QueueState): QueueHealth {
    let health = known.get(state);
    if (health === undefined) {
      health = createQueueHealth();
      known.set(state, health);
    }
    return health;
  }

  function admit(state: QueueState, url: string, isForced: boolean): Admission {
    const health = healthOf(state);
    if (state.record.settings.circuitBreaker === null) {
      dropBreakers(state, health);
      return { kind: 'call', breaker: null, isProbe: false };
    }
    const breaker = breakerOf(health, callTarget(url)?.origin ?? url);
    const answer = isForced ? 'go' : mayCall(breaker, monotonic());
    updateHold(state, health);
    if (typeof answer === 'string') return { kind: 'call', breaker, isProbe: answer === 'probe' };
    health.postponed += 1;
    const spread = Math.min(MAX_SPREAD_SECONDS, health.postponed / RETURNS_PER_SECOND);
    return { kind: 'postpone', delaySeconds: answer.retryInSeconds + spread };
  }

  function note(state: QueueState, admission: Admission, settlement: Settlement | null): void {
    if (admission.kind === 'postpone') return;
    const health = healthOf(state);
    const { breaker, isProbe } = admission;
    const settings = state.record.settings.circuitBreaker;
    if (breaker !== null && settings !== null) {
      const verdict = judgeCall(settlement?.outcome ?? null, settlement?.status ?? null);
      if (noteOutcome(breaker, settings, { verdict, isProbe }, monotonic())) {
        noteChange(state, health, breaker);
      }
    } else if (breaker !== null && isProbe) withdrawProbe(breaker);
    updateHold(state, health);
    if (settlement?.outcome !== 'responded') return;
    if (noteAnswer(health.slowdown, settlement.status, monotonic())) updateRate(state, health);
  }

  /** A breaker opened or closed. */
  function noteChange(state: QueueState, health: QueueHealth, breaker: Breaker): void {
    health.postponed = 0;
    if (breaker.opening === null) {
      if (health.holder === breaker) release(state, health);
    } else if (health.holder === null && isMostOf(breaker, health)) health.holder = breaker;
    tellStatus(state);
  }

  function isMostOf(breaker: Breaker, { breakers }: QueueHealth): boolean {
    const nowMs = monotonic();
    let all = 0;
    for (const each of breakers.values()) all += recentCalls(each, nowMs).calls;
    return recentCalls(breaker, nowMs).calls >= all * HOLD_SHARE;
  }

  /** While a probe is out nothing else is claimed; what it comes to says when the next may be. */
  function updateHold(state: QueueState, { holder }: QueueHealth): void {
    if (holder?.opening == null) return;
    const { isProbeOut, untilMs } = holder.opening;
    state.heldUntilMs = isProbeOut ? Number.POSITIVE_INFINITY : untilMs;
    options.onChanged(state);
  }

  function release(state: QueueState, health: QueueHealth): void {
    health.holder = null;
    state.heldUntilMs = 0;
    options.onChanged(state);
  }

  function dropBreakers(state: QueueState, health: QueueHealth): void {
    if (health.breakers.size === 0) return;
    health.breakers.clear();
    if (health.holder !== null) release(state, health);
    tellStatus(state);
  }

  function updateRate(state: QueueState, health: QueueHealth): void {
    const nowMs = monotonic();
    changeRateShare(state, rateShare(health.slowdown, nowMs), nowMs);
    clearTimeout(health.rateTimer);
    const nextMs = nextChangeMs(health.slowdown, nowMs);
    if (Number.isFinite(nextMs) && !isStopped) {
      const waitMs = Math.ceil(nextMs - nowMs);
      health.rateTimer = setTimeout(() => updateRate(state, health), waitMs).unref();
    }
    options.onChanged(state);
    tellStatus(state);
  }

  /** Something of the status changed: it is told within a second. */
  function tellStatus(state: QueueState): void {
    const health = healthOf(state);
    if (health.statusTimer !== undefined || isStopped) return;
    const waitMs = Math.max(0, health.toldAtMs + STATUS_EVERY_MS - monotonic());
    health.statusTimer = setTimeout(() => {
      health.statusTimer = undefined;
      health.toldAtMs = monotonic();
      if (!isStopped) options.onStatus(state, statusOf(state, health));
    }, waitMs).unref();
  }

  function statusOf(state: QueueState, { breakers }: QueueHealth): OwnersStatus {
    const offsetMs = options.databaseNow() - monotonic();
    return {
      openCircuits: [...breakers].flatMap(([origin, { opening }]) =>
        opening === null
          ? []
          : [{ origin, probeAt: new Date(opening.untilMs + offsetMs).toISOString() }],
      ),
      rateShare: state.rateShare,
    };
  }

  return {
    admit,
    note,
    stop() {
      isStopped = true;
    },
  };
}

function createQueueHealth(): QueueHealth {
  return {
    slowdown: createSlowdown(),
    breakers: new Map(),
    holder: null,
    postponed: 0,
    rateTimer: undefined,
    statusTimer: undefined,
    toldAtMs: Number.NEGATIVE_INFINITY,
  };
}

/** Each call moves its origin to the end, so that the first is the one to forget. */
function breakerOf({ breakers, holder }: QueueHealth, origin: string): Breaker {
  const breaker = breakers.get(origin) ?? createBreaker();
  if (breakers.size === 1 && breakers.has(origin)) return breaker;
  breakers.delete(origin);
  breakers.set(origin, breaker);
  if (breakers.size > MAX_ORIGINS) {
    const [oldest] = [...breakers].find(([, each]) => each !== holder)!;
    breakers.delete(oldest);
  }
  return breaker;
}
