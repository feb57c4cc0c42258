import type { Log } from '../log.ts';
import type { Database } from '../store/database.ts';
import { isDatabaseAway } from '../store/errors.ts';
import { deleteExpiredKeys, listPurges, purgeBatch } from '../store/housekeeping.ts';
import { createPartitions } from '../store/partitions.ts';
import { deleteStrayStatuses } from '../store/queue-status.ts';
import { createRetention } from './retention.ts';

export interface Housekeeping {
  start(): void;
  stop(): Promise<void>;
}

export interface HousekeepingOptions {
  database: Database;
  shards: () => number[];
  log: Log;
  /** Settles the leases of the dead and those past their end. */
  settleLost: () => Promise<void>;
}

interface Chore {
  name: string;
  everyMs: number;
  /** What belongs to the whole database is done by the owner of shard 0 alone. */
  isGlobal: boolean;
  run: () => Promise<void>;
}

const BATCH = 1_000;
const KEYS_PER_PASS = 100_000;
const HOUR_MS = 3_600_000;

/** What has to be done now and then. A chore that fails is tried again at its next turn. */
export function createHousekeeping(options: HousekeepingOptions): Housekeeping {
  const { database, log } = options;
  const retention = createRetention(options);
  const timers: NodeJS.Timeout[] = [];
  const running = new Set<Promise<void>>();
  let isStopped = false;

  const chores: Chore[] = [
    { name: 'lost', everyMs: 5_000, isGlobal: false, run: options.settleLost },
    { name: 'purge', everyMs: 2_000, isGlobal: false, run: purgeQueues },
    { name: 'keys', everyMs: 60_000, isGlobal: true, run: deleteKeys },
    {
      name: 'statuses',
      everyMs: 60_000,
      isGlobal: true,
      run: () => database.run(deleteStrayStatuses),
    },
    { name: 'partitions', everyMs: HOUR_MS, isGlobal: true, run: makeDays },
    { name: 'retention', everyMs: HOUR_MS / 6, isGlobal: true, run: retention.endDays },
  ];

  async function purgeQueues(): Promise<void> {
    const purges = await database.run((sql) => listPurges(sql, options.shards()));
    for (const purge of purges) {
      let deleted = BATCH;
      while (deleted > 0 && !isStopped) {
        deleted = await database.run((sql) => purgeBatch(sql, { ...purge, limit: BATCH }));
      }
    }
  }

  async function deleteKeys(): Promise<void> {
    for (let passed = 0; passed < KEYS_PER_PASS && !isStopped; passed += BATCH) {
      if ((await database.run((sql) => deleteExpiredKeys(sql, BATCH))) === 0) return;
    }
  }

  async function makeDays(): Promise<void> {
    await database.run((sql) => createPartitions(sql), { timeoutMs: 30_000 });
  }

  async function turn(chore: Chore): Promise<void> {
    try {
      const shards = options.shards();
      if (shards.length > 0 && (!chore.isGlobal || shards.includes(0))) await chore.run();
    } catch (error) {
      const code = (error as { code?: string }).code;
      const level = isDatabaseAway(error) || code === '55P03' ? 'warn' : 'error';
      log[level]({ chore: chore.name, code }, 'housekeeping failed, trying again later');
    }
  }

  function schedule(chore: Chore, index: number, delayMs: number): void {
    if (isStopped) return;
    timers[index] = setTimeout(() => {
      const done = turn(chore).finally(() => {
        running.delete(done);
        schedule(chore, index, chore.everyMs);
      });
      running.add(done);
    }, delayMs);
  }

  return {
    start() {
      for (const [index, chore] of chores.entries()) schedule(chore, index, 1_000);
    },
    async stop() {
      isStopped = true;
      retention.stop();
      for (const timer of timers) clearTimeout(timer);
      await Promise.allSettled(running);
    },
  };
}
