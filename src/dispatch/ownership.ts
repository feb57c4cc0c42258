import { setTimeout as delay } from 'node:timers/promises';
import type { Log } from '../log.ts';
import { SHARDS } from '../model.ts';
import type { Database } from '../store/database.ts';
import { isDatabaseAway } from '../store/errors.ts';
import {
  announceLeaving,
  beat,
  type Handover,
  type Heartbeat,
  leave,
  registerDispatcher,
  releaseShards,
  releaseStrays,
  renewEpoch,
  strikeDead,
  type TakenShard,
  takeShards,
} from '../store/ownership.ts';
import type { DatabaseClock } from './database-clock.ts';

/** A shard that is ours. */
export interface Owned {
  epoch: string;
  /** The epoch it was taken with: leases from before it are not of this ownership. */
  takenEpoch: string;
  /** By the database's clock, in milliseconds. */
  takenAtMs: number;
  handover: Handover | null;
}

export interface Ownership {
  /** Number of this dispatcher; another after it had been taken for dead. */
  dispatcher(): number;
  shards(): ReadonlyMap<number, Owned>;
  /** True while nobody can have taken over: the only time in which to claim or to begin a call. */
  isCertain(): boolean;
  /** Enters the dispatcher and takes its share; then beats until `leave`. Waits for the database. */
  start(): Promise<void>;
  /** Beats once more at once: after it, `isCertain` says how things stand now. */
  check(): Promise<void>;
  /** After a claim of unknown outcome: from now on nothing sent before can take anything. */
  renew(shard: number): Promise<void>;
  /** Hands every shard over at once, with its levels; goes on beating, for calls are still in flight. */
  handOver(): Promise<void>;
  /** Strikes the dispatcher: nothing of it is in flight any more. */
  leave(): Promise<void>;
}

export interface OwnershipOptions {
  database: Database;
  pool: string;
  host: string;
  pid: number;
  /** How long it may take, at most, until a crashed dispatcher's shards are taken over. */
  takeoverMs: number;
  /** True when no other dispatcher can be alive: what is registered was left behind. */
  isSole: boolean;
  clock: DatabaseClock;
  monotonic: () => number;
  log: Log;
  /** Reads what must be known of shards before anything of them is claimed. */
  prepare: (taken: readonly TakenShard[]) => Promise<void>;
  /** Shards that are newly ours, prepared. */
  onTaken: (shards: number[]) => void;
  /** Stops claiming from these shards and tells their buckets' levels. */
  onHandOver: (shards: number[]) => Promise<{ shard: number; levels: Handover['levels'] }[]>;
  /** Shards that are no longer ours, handed over or lost. */
  onLost: (shards: number[]) => void;
}

/**
 * Shares of the take-over time. A heartbeat every tenth; one that stood still for eight tenths, seen by
 * beats a tenth apart, is dead within the whole of it; and certainty ends long before, at five tenths.
 */
const BEATS_PER_TAKEOVER = 10;
const DEAD_SHARE = 0.8;
const CERTAIN_SHARE = 0.5;
const RETRY_MS = 200;

/**
 * Who may claim from which shard: the shards of a pool are spread evenly over its live dispatchers.
 * Each moves its own heartbeat counter on and watches the others': one whose counter stood still, as
 * seen by an observer that was connected all along, is dead. So after an outage of the database nobody
 * is dead at once.
 */
export function createOwnership(options: OwnershipOptions): Ownership {
  const { database, monotonic, log, pool } = options;
  const owned = new Map<number, Owned>();
  const seen = new Map<number, { heartbeat: string; sinceMs: number }>();
  let dispatcher = 0;
  let certainUntilMs = 0;
  let lastBeatMs = Number.NEGATIVE_INFINITY;
  let timer: NodeJS.Timeout | undefined;
  let isTaking = true;
  let hasStrays = false;
  let isBeating = true;

  async function register(): Promise<void> {
    const { host, pid } = options;
    lose([...owned.keys()]);
    certainUntilMs = 0;
    dispatcher = await database.run((sql) => registerDispatcher(sql, { pool, host, pid }));
    log.info({ dispatcher, pool }, 'dispatcher registered');
  }

  /** Tries again while the database is away: half of a change of hands would leave shards to nobody. */
  async function insist<Result>(work: () => Promise<Result>): Promise<Result> {
    for (;;) {
      try {
        return await work();
      } catch (error) {
        if (!isDatabaseAway(error) || !isBeating) throw error;
        log.warn({ code: (error as { code: string }).code }, 'ownership waits for the database');
        await delay(RETRY_MS);
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
    if (hasStrays) await freeStrays();
    if (isTaking) await balance(heartbeat, struck);
  }

  /** Counted from the answer of one beat to the sending of another: a slow answer makes nobody older. */
  function findDead(dispatchers: Heartbeat['dispatchers'], sentMs: number, answeredMs: number) {
    const others = dispatchers.filter(({ id }) => id !== dispatcher);
    const dead = others.filter(({ id, heartbeat }) => {
      const last = seen.get(id);
      if (last?.heartbeat !== heartbeat) seen.set(id, { heartbeat, sinceMs: answeredMs });
      if (options.isSole) return true;
      const isStill = last?.heartbeat === heartbeat;
      return isStill && sentMs - last.sinceMs >= options.takeoverMs * DEAD_SHARE;
    });
    const known = new Set(others.map(({ id }) => id));
    for (const id of seen.keys()) if (!known.has(id)) seen.delete(id);
    return dead;
  }

  /** Takes what is free up to an even share, and hands over what is beyond it. */
  async function balance(
    { dispatchers, hasFreeShards }: Heartbeat,
    struck: number[],
  ): Promise<void> {
    const isLive = (d: Heartbeat['dispatchers'][number]) => !d.isLeaving && !struck.includes(d.id);
    const live = dispatchers.filter((d) => d.pool === pool && isLive(d)).length;
    const share = Math.ceil(SHARDS / Math.max(1, live));
    if (owned.size > share) await give([...owned.keys()].slice(share));
    const limit = share - owned.size;
    if (limit > 0 && (struck.length > 0 || hasFreeShards)) await take(struck, limit);
  }

  /** Whatever fails in here may have left us shards that we know nothing of. */
  async function take(dead: readonly number[], limit: number): Promise<void> {
    hasStrays = true;
    const taken = await database.run((sql) => takeShards(sql, { pool, dispatcher, dead, limit }));
    if (taken.length > 0) await insist(() => options.prepare(taken));
    hasStrays = false;
    if (taken.length === 0) return;
    for (const { shard, epoch, handover } of taken) {
      owned.set(shard, { epoch, takenEpoch: epoch, takenAtMs: options.clock.now(), handover });
    }
    log.info({ dispatcher, dead, shards: taken.length }, 'shards taken');
    options.onTaken(taken.map(({ shard }) => shard));
  }

  async function freeStrays(): Promise<void> {
    const known = [...owned.keys()];
    await database.run((sql) => releaseStrays(sql, { pool, dispatcher, known }));
    hasStrays = false;
  }

  async function give(shards: number[]): Promise<void> {
    const levels = await options.onHandOver(shards);
    lose(shards);
    await insist(() =>
      database.run((sql) => releaseShards(sql, { pool, dispatcher, shards: levels })),
    );
    log.info({ dispatcher, shards: shards.length }, 'shards handed over');
  }

  function lose(shards: number[]): void {
    for (const shard of shards) owned.delete(shard);
    if (shards.length > 0) options.onLost(shards);
  }

  async function beatAndReschedule(): Promise<void> {
    try {
      await beatOnce();
    } catch (error) {
      // Whatever it is, a dispatcher that stops beating is dead soon, and its calls are made again.
      const level = isDatabaseAway(error) ? 'warn' : 'error';
      log[level]({ code: (error as { code?: string }).code }, 'heartbeat failed, trying again');
    }
    clearTimeout(timer);
    if (isBeating) timer = setTimeout(beatAndReschedule, options.takeoverMs / BEATS_PER_TAKEOVER);
  }

  return {
    dispatcher: () => dispatcher,
    shards: () => owned,
    isCertain: () => monotonic() < certainUntilMs,
    async start() {
      await insist(register);
      await beatAndReschedule();
    },
    check: beatOnce,
    async renew(shard) {
      const known = owned.get(shard);
      const renewed = await database.run((sql) => renewEpoch(sql, { pool, shard, dispatcher }));
      if (renewed === null) lose([shard]);
      else if (known !== undefined) owned.set(shard, { ...known, epoch: renewed.epoch });
    },
    async handOver() {
      isTaking = false;
      await insist(() => database.run((sql) => announceLeaving(sql, dispatcher)));
      if (owned.size > 0) await give([...owned.keys()]);
    },
    async leave() {
      isTaking = false;
      isBeating = false;
      clearTimeout(timer);
      certainUntilMs = 0;
      lose([...owned.keys()]);
      await database.run((sql) => leave(sql, dispatcher));
    },
  };
}
