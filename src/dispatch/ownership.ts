import { setTimeout as delay } from 'node:timers/promises';
import type { Log } from '../log.ts';
import type { Database } from '../store/database.ts';
import { isDatabaseAway } from '../store/errors.ts';
import {
  beat,
  leave,
  type OwnedShard,
  registerDispatcher,
  renewEpoch,
  strikeDead,
  takeShards,
} from '../store/ownership.ts';
import type { DatabaseClock } from './database-clock.ts';

export interface Ownership {
  /** Number of this dispatcher; another after it had been taken for dead. */
  dispatcher(): number;
  /** Shard → epoch, for the shards that are ours. */
  shards(): ReadonlyMap<number, string>;
  /** True while nobody can have taken over: the only time in which to claim or to begin a call. */
  isCertain(): boolean;
  /** Enters the dispatcher and takes shards; then beats until `leave`. Waits for the database. */
  start(): Promise<void>;
  /** After a claim of unknown outcome: from now on nothing sent before can take anything. */
  renew(shard: number): Promise<void>;
  /** Hands everything over at once. */
  leave(): Promise<void>;
}

export interface OwnershipOptions {
  database: Database;
  pool: string;
  host: string;
  pid: number;
  /** How long a heartbeat may stand still, seen from outside, before its dispatcher is dead. */
  takeoverMs: number;
  /** True when no other dispatcher can be alive: what is registered was left behind. */
  isSole: boolean;
  clock: DatabaseClock;
  monotonic: () => number;
  log: Log;
  /** Shards that are newly ours: their leases of the dead are to be settled as lost. */
  onTaken: (shards: number[]) => void;
}

/** Beats per take-over time; the certainty of ownership ends at 6/10 of it, before anyone takes over. */
const BEATS_PER_TAKEOVER = 5;
const CERTAIN_SHARE = 0.6;
const SHARDS_PER_TAKE = 64;
const REGISTER_RETRY_MS = 200;

/**
 * Who may claim from which shard. Each dispatcher moves its own heartbeat counter on and watches the
 * others': one whose counter stood still for the whole take-over time, as seen by an observer that was
 * connected all along, is dead. So after an outage of the database nobody is dead at once.
 */
export function createOwnership(options: OwnershipOptions): Ownership {
  const { database, monotonic, log } = options;
  const owned = new Map<number, string>();
  const seen = new Map<number, { heartbeat: string; sinceMs: number }>();
  let dispatcher = 0;
  let certainUntilMs = 0;
  let lastBeatMs = Number.NEGATIVE_INFINITY;
  let timer: NodeJS.Timeout | undefined;
  let isLeaving = false;

  async function register(): Promise<void> {
    const { pool, host, pid } = options;
    owned.clear();
    certainUntilMs = 0;
    dispatcher = await database.run((sql) => registerDispatcher(sql, { pool, host, pid }));
    log.info({ dispatcher, pool }, 'dispatcher registered');
  }

  async function registerWhenReachable(): Promise<void> {
    while (!isLeaving) {
      try {
        return await register();
      } catch (error) {
        if (!isDatabaseAway(error)) throw error;
        log.warn({ code: (error as { code: string }).code }, 'not registered yet, trying again');
        await delay(REGISTER_RETRY_MS);
      }
    }
  }

  async function beatOnce(): Promise<void> {
    const sentMs = monotonic();
    const heartbeat = await database.run((sql) => beat(sql, dispatcher));
    const answeredMs = monotonic();
    options.clock.set(heartbeat.databaseTime, (sentMs + answeredMs) / 2);
    if (!heartbeat.isAlive) {
      log.warn({ dispatcher }, 'taken for dead by another dispatcher, beginning anew');
      await register();
      return beatOnce();
    }
    // Someone who could not see the others for a while has no right to call them dead.
    if (sentMs - lastBeatMs > options.takeoverMs / 2) seen.clear();
    lastBeatMs = sentMs;
    certainUntilMs = sentMs + options.takeoverMs * CERTAIN_SHARE;
    const dead = findDead(heartbeat.dispatchers, sentMs, answeredMs);
    const struck = dead.length === 0 ? [] : await database.run((sql) => strikeDead(sql, dead));
    if (struck.length > 0 || heartbeat.hasFreeShards) await take(struck);
  }

  /** Counted from the answer of one beat to the sending of another: a slow answer makes nobody older. */
  function findDead(
    dispatchers: { id: number; heartbeat: string }[],
    sentMs: number,
    answeredMs: number,
  ) {
    const others = dispatchers.filter(({ id }) => id !== dispatcher);
    const dead = others.filter(({ id, heartbeat }) => {
      const last = seen.get(id);
      if (last?.heartbeat !== heartbeat) seen.set(id, { heartbeat, sinceMs: answeredMs });
      if (options.isSole) return true;
      return last?.heartbeat === heartbeat && sentMs - last.sinceMs >= options.takeoverMs;
    });
    const known = new Set(others.map(({ id }) => id));
    for (const id of seen.keys()) if (!known.has(id)) seen.delete(id);
    return dead;
  }

  async function take(dead: readonly number[]): Promise<void> {
    if (isLeaving) return;
    const taken = await database.run((sql) =>
      takeShards(sql, { pool: options.pool, dispatcher, dead, limit: SHARDS_PER_TAKE }),
    );
    if (taken.length === 0) return;
    keep(taken);
    log.info({ dispatcher, dead, shards: taken.length }, 'shards taken');
    options.onTaken(taken.map(({ shard }) => shard));
  }

  function keep(shards: readonly OwnedShard[]): void {
    for (const { shard, epoch } of shards) owned.set(shard, epoch);
  }

  async function beatAndReschedule(): Promise<void> {
    try {
      await beatOnce();
    } catch (error) {
      // Whatever it is, a dispatcher that stops beating is dead soon, and its calls are made again.
      const level = isDatabaseAway(error) ? 'warn' : 'error';
      log[level]({ code: (error as { code?: string }).code }, 'heartbeat failed, trying again');
    }
    if (!isLeaving) timer = setTimeout(beatAndReschedule, options.takeoverMs / BEATS_PER_TAKEOVER);
  }

  return {
    dispatcher: () => dispatcher,
    shards: () => owned,
    isCertain: () => monotonic() < certainUntilMs,
    async start() {
      await registerWhenReachable();
      await beatAndReschedule();
    },
    async renew(shard) {
      const renewed = await database.run((sql) =>
        renewEpoch(sql, { pool: options.pool, shard, dispatcher }),
      );
      if (renewed === null) owned.delete(shard);
      else keep([renewed]);
    },
    async leave() {
      isLeaving = true;
      clearTimeout(timer);
      certainUntilMs = 0;
      owned.clear();
      await database.run((sql) => leave(sql, dispatcher));
    },
  };
}
