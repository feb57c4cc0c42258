import { setTimeout as delay } from 'node:timers/promises';
import type { Log } from '../log.ts';
import { type QueueRecord, SHARDS } from '../model.ts';
import { createDeathWatch } from '../policy/death-watch.ts';
import { isContended } from '../store/contended.ts';
import type { Database } from '../store/database.ts';
import { isDatabaseAway } from '../store/errors.ts';
import {
  announceLeaving,
  beat,
  type DispatcherPulse,
  type Handover,
  type Heartbeat,
  type LeftLevels,
  leave,
  type OwnedShard,
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
  /** The queue alone that this one is for: its shard is all it takes. Default: none. */
  onlyQueue?: Pick<QueueRecord, 'id' | 'shard'>;
  clock: DatabaseClock;
  monotonic: () => number;
  log: Log;
  /** Reads what must be known of shards before anything of them is claimed. */
  prepare: (taken: readonly TakenShard[]) => Promise<void>;
  /** Shards that are newly ours, prepared. */
  onTaken: (shards: number[]) => void;
  /** Stops claiming from these shards and tells their buckets' levels. */
  onHandOver: (shards: number[]) => Promise<{ shard: number; left: LeftLevels }[]>;
  /** Shards that are no longer ours, handed over or lost. */
  onLost: (shards: number[]) => void;
}

/**
 * Shares of the take-over time. A heartbeat every tenth; one that stood still for eight tenths is dead
 * (policy/death-watch.ts), and certainty ends long before, at five tenths.
 */
const BEATS_PER_TAKEOVER = 10;
const CERTAIN_SHARE = 0.5;
const RETRY_MS = 200;

/**
 * Who may claim from which shard: the shards of a pool are spread evenly over its live dispatchers.
 * Each moves its own heartbeat counter on and watches the others'. One that drains a queue takes that
 * queue's shard where it is free, and has no share in the others.
 */
export function createOwnership(options: OwnershipOptions): Ownership {
  const { database, monotonic, log, pool, takeoverMs, onlyQueue } = options;
  const deaths = createDeathWatch(takeoverMs);
  const owned = new Map<number, Owned>();
  let dispatcher = 0;
  let certainUntilMs = 0;
  let timer: NodeJS.Timeout | undefined;
  let isTaking = true;
  let beating: Promise<unknown> = Promise.resolve();
  let isBeating = true;

  async function register(): Promise<void> {
    const { host, pid } = options;
    lose([...owned.keys()]);
    certainUntilMs = 0;
    const entry = { pool, host, pid, takeoverMs, onlyQueue: onlyQueue?.id };
    dispatcher = await database.run((sql) => registerDispatcher(sql, entry));
    log.info({ dispatcher, pool }, 'dispatcher registered');
  }

  /** Tries again what may yet be done: half of a change of hands would leave shards to nobody for a while. */
  async function insist<Result>(work: () => Promise<Result>): Promise<Result> {
    for (;;) {
      try {
        return await work();
      } catch (error) {
        if (!isPassing(error) || !isBeating) throw error;
        log.warn({ code: (error as { code: string }).code }, 'ownership waits for the database');
        await delay(RETRY_MS);
      }
    }
  }

  /** One after the other: what one takes or gives another must not see half done. */
  function beatOnce(): Promise<void> {
    const next = beating.then(beatNow);
    beating = next.catch(() => undefined);
    return next;
  }

  async function beatNow(): Promise<void> {
    const sentMs = monotonic();
    const known = new Map(owned);
    const heartbeat = await database.run((sql) => beat(sql, dispatcher));
    const answeredMs = monotonic();
    options.clock.set(heartbeat.databaseTime, (sentMs + answeredMs) / 2);
    if (!heartbeat.isAlive) {
      log.warn({ dispatcher }, 'taken for dead by another dispatcher, beginning anew');
      await register();
      return beatNow();
    }
    certainUntilMs = sentMs + takeoverMs * CERTAIN_SHARE;
    const others = heartbeat.dispatchers.filter(({ id }) => id !== dispatcher);
    const dead = options.isSole ? others : deaths.observe(others, sentMs, answeredMs);
    const struck = dead.length === 0 ? [] : await database.run((sql) => strikeDead(sql, dead));
    if (!isTaking) return;
    await reconcile(known, heartbeat.shards);
    await balance(heartbeat, struck);
  }

  /**
   * The table is right. What we know differs where a statement failed half way or had no answer, even one that
   * was given up long ago: it may have waited for a lock or on its way, and been done after all. `known` is what
   * we knew when the heartbeat was sent; what changed meanwhile is looked at by the next.
   */
  async function reconcile(known: ReadonlyMap<number, Owned>, mine: OwnedShard[]): Promise<void> {
    const epochs = new Map(mine.map(({ shard, epoch }) => [shard, epoch]));
    const settled = [...known].filter(([shard, as]) => owned.get(shard) === as);
    const gone = settled.filter(([shard]) => !epochs.has(shard)).map(([shard]) => shard);
    const raised = settled.filter(([shard, { epoch }]) => (epochs.get(shard) ?? epoch) !== epoch);
    const strays = [...epochs.keys()].filter((shard) => !known.has(shard) && !owned.has(shard));
    if (gone.length + raised.length + strays.length === 0) return;
    const counts = { gone: gone.length, raised: raised.length, strays: strays.length };
    log.warn({ dispatcher, ...counts }, 'ownership put right');
    lose(gone);
    for (const [shard, as] of raised) owned.set(shard, { ...as, epoch: epochs.get(shard)! });
    if (strays.length === 0) return;
    await database.run((sql) => releaseStrays(sql, { pool, dispatcher, shards: strays }));
  }

  /** Takes what is free up to an even share, and hands over what is beyond it. */
  async function balance(
    { dispatchers, hasFreeShards }: Heartbeat,
    struck: number[],
  ): Promise<void> {
    const shares = (d: DispatcherPulse) =>
      d.pool === pool && d.onlyQueue === null && !d.isLeaving && !struck.includes(d.id);
    const live = dispatchers.filter(shares).length;
    const share = onlyQueue === undefined ? Math.ceil(SHARDS / Math.max(1, live)) : 1;
    if (owned.size > share) await give([...owned.keys()].slice(share));
    const limit = share - owned.size;
    if (limit > 0 && (struck.length > 0 || hasFreeShards)) await take(struck, limit);
  }

  /** What it leaves half done is put right by the next beat. */
  async function take(dead: readonly number[], limit: number): Promise<void> {
    const only = onlyQueue?.shard;
    const taken = await database.run((sql) =>
      takeShards(sql, { pool, dispatcher, dead, limit, only }),
    );
    if (taken.length === 0) return;
    await insist(() => options.prepare(taken));
    for (const { shard, epoch, handover } of taken) {
      owned.set(shard, { epoch, takenAtMs: options.clock.now(), handover });
    }
    log.info({ dispatcher, dead, shards: taken.length }, 'shards taken');
    options.onTaken(taken.map(({ shard }) => shard));
  }

  async function give(shards: number[]): Promise<void> {
    const left = await options.onHandOver(shards);
    lose(shards);
    await insist(() =>
      database.run((sql) => releaseShards(sql, { pool, dispatcher, shards: left })),
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
      const message = 'heartbeat failed, trying again';
      if (isPassing(error)) log.warn({ code: (error as { code: string }).code }, message);
      else log.error({ error }, message);
    }
    clearTimeout(timer);
    if (isBeating) timer = setTimeout(beatAndReschedule, takeoverMs / BEATS_PER_TAKEOVER);
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
      const by = dispatcher;
      const renewed = await database.run((sql) => renewEpoch(sql, { pool, shard, dispatcher: by }));
      // Struck meanwhile: what is ours now was taken under another number, with an epoch of its own.
      if (by !== dispatcher) return;
      const known = owned.get(shard);
      if (renewed === null) lose([shard]);
      // Several may be under way at once, and their answers come in any order.
      else if (known !== undefined && BigInt(renewed.epoch) > BigInt(known.epoch)) {
        owned.set(shard, { ...known, epoch: renewed.epoch });
      }
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

/** Two dispatchers that change hands at once may lock each other out: one of them has to try again. */
function isPassing(error: unknown): boolean {
  return isDatabaseAway(error) || isContended(error);
}
