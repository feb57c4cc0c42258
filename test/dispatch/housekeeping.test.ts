import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { createHousekeeping } from '../../src/dispatch/housekeeping.ts';
import { claimTasks } from '../../src/store/claim.ts';
import { type Database, openDatabase } from '../../src/store/database.ts';
import { enqueueTasks } from '../../src/store/enqueue.ts';
import { registerDispatcher, takeShards } from '../../src/store/ownership.ts';
import { purgeQueue } from '../../src/store/queue-removal.ts';
import { verifyRooms } from '../../src/store/verify.ts';
import { createTestDatabase, type TestDatabase } from '../support/database.ts';
import { type Bench, silentLog, startBench } from '../support/dispatcher.ts';
import { newTask } from '../support/new-task.ts';
import { startTarget, type Target } from '../support/target.ts';
import { until } from '../support/until.ts';

describe('with a dispatcher at work', () => {
  let bench: Bench;
  let target: Target;

  beforeEach(async () => {
    [bench, target] = await Promise.all([startBench(), startTarget()]);
  });

  afterEach(async () => {
    await bench.close();
    await target.close();
  });

  const rows = (table: string) =>
    bench.database.run(async (sql) => {
      const [row] = await sql`select count(*)::integer as n from ${sql(`errand.${table}`)}`;
      return row!.n as number;
    });

  /** What a dispatcher leaves behind that was killed in the middle of a call. */
  async function leaveLease(fields: { isGone: boolean; isExpired: boolean }): Promise<string> {
    await bench.dispatcher.drain(0);
    const [id] = await bench.enqueue({ url: target.url });
    await bench.database.run(async (sql) => {
      const dispatcher = await registerDispatcher(sql, { pool: 'default', host: 'gone', pid: 2 });
      const [owned] = await takeShards(sql, { pool: 'default', dispatcher, dead: [], limit: 1 });
      await claimTasks(sql, {
        pool: 'default',
        shard: 0,
        dispatcher,
        epoch: owned!.epoch,
        claim: 1,
        leaseMarginSeconds: 15,
        queues: [
          {
            queue: 1,
            version: 1,
            limit: 1,
            dispatchDeadlineSeconds: 600,
            cursors: [{ rank: 0, afterSeq: '0' }],
          },
        ],
      });
      await sql`update errand.ownership set dispatcher = null`;
      if (fields.isGone) await sql`delete from errand.dispatcher where id = ${dispatcher}`;
      if (fields.isExpired) {
        await sql`update errand.lease set expires_at = now() - interval '1 second'`;
      }
    });
    expect(await rows('lease')).toBe(1);
    return id!;
  }

  async function expectLostAndRetried(id: string): Promise<void> {
    await until(async () => (await rows('finished')) === 1);
    const attempts = await bench.database.run(
      (sql) => sql`select attempt, outcome, settlement from errand.attempt order by attempt`,
    );
    expect([...attempts]).toEqual([
      { attempt: 1, outcome: 'lost', settlement: 'retry' },
      { attempt: 2, outcome: 'responded', settlement: 'succeed' },
    ]);
    expect(target.arrivals).toMatchObject([
      { headers: { 'errand-task-id': id, 'errand-attempt': '2' } },
    ]);
    const [retry] = await bench.database.run(
      (sql) => sql<{ waited: number }[]>`
        select extract(epoch from b.started_at - a.finished_at)::float8 as waited
        from errand.attempt a join errand.attempt b on a.attempt = 1 and b.attempt = 2`,
    );
    expect(retry!.waited).toBeGreaterThanOrEqual(0.1);
    expect((await bench.database.run(verifyRooms)).problems).toEqual([]);
  }

  test('a lease past its end is an attempt that was lost, and is retried with backoff', async () => {
    const id = await leaveLease({ isGone: false, isExpired: true });
    await bench.startDispatcher();
    await expectLostAndRetried(id);
  });

  test('the leases of a dispatcher that is gone are lost at once, long before their end', async () => {
    const id = await leaveLease({ isGone: true, isExpired: false });
    await bench.startDispatcher();
    await expectLostAndRetried(id);
  });

  test('the lease of a dispatcher that lives is left alone', async () => {
    await leaveLease({ isGone: false, isExpired: false });
    await bench.startDispatcher();
    await bench.enqueue({ url: target.url });
    await target.arrived(1);
    expect(await rows('lease')).toBeGreaterThanOrEqual(1);
    expect(await rows('attempt')).toBeLessThanOrEqual(1);
  });

  test('purge empties a paused queue with a backlog, and what comes later is dispatched on resume', async () => {
    const setPaused = (isPaused: boolean) =>
      bench.database.run(
        (sql) => sql`update errand.queue set version = version + 1,
          paused_at = case when ${isPaused} then now() end where id = 1`,
      );
    // The dispatcher knows the queue as open, then as paused, then as purging.
    await bench.enqueue({ url: target.url });
    await target.arrived(1);
    await setPaused(true);
    const backlog = Array.from({ length: 2_500 }, (_, index) => ({
      url: `${target.url}/purged`,
      delaySeconds: index % 2 === 0 ? 0 : 3_600,
    }));
    await bench.enqueue(...backlog);
    await bench.database.run((sql) => purgeQueue(sql, 'default', 'default'));
    await bench.enqueue({ url: `${target.url}/later` });
    await until(async () => (await rows('ready')) === 1 && (await rows('scheduled')) === 0);
    await setPaused(false);
    await target.arrived(2);
    expect(target.arrivals.map(({ path }) => path)).toEqual(['/', '/later']);
    await until(async () => (await rows('finished')) === 2);
    expect((await bench.database.run(verifyRooms)).problems).toEqual([]);
  });
});

describe('chores', () => {
  let schema: TestDatabase;
  let database: Database;

  beforeEach(async () => {
    schema = await createTestDatabase();
    database = openDatabase({ url: schema.url, connections: 4, name: 'test' });
  });

  afterEach(async () => {
    await database.close();
    await schema.drop();
  });

  test('that fail are tried again at their next turn, and do not stop the others', async () => {
    const [queue] = await database.run(async (sql) => {
      await enqueueTasks(sql, [newTask()]);
      await purgeQueue(sql, 'default', 'default');
      await sql`alter table errand.scheduled rename to renamed`;
      return sql`select count(*)::integer as ready from errand.ready`;
    });
    expect(queue).toEqual({ ready: 1 });
    const failed = Promise.withResolvers<void>();
    const log = {
      ...silentLog,
      error: (fields: object) => 'chore' in fields && fields.chore === 'purge' && failed.resolve(),
    };
    let turns = 0;
    const housekeeping = createHousekeeping({
      database,
      shards: () => [0],
      log,
      settleLost: async () => {
        turns += 1;
        throw new Error('no luck');
      },
    });
    housekeeping.start();
    try {
      await failed.promise;
      await database.run((sql) => sql`alter table errand.renamed rename to scheduled`);
      await until(() =>
        database.run(async (sql) => {
          const [row] = await sql`select is_purging from errand.queue where id = 1`;
          return row!.is_purging === false;
        }),
      );
      await until(() => turns >= 2);
    } finally {
      await housekeeping.stop();
    }
  });

  test('are not done for shards of others, and none after stop()', async () => {
    let turns = 0;
    const settleLost = async () => {
      turns += 1;
    };
    let shards: number[] = [];
    const asked = Promise.withResolvers<void>();
    const housekeeping = createHousekeeping({
      database,
      shards: () => {
        asked.resolve();
        return shards;
      },
      log: silentLog,
      settleLost,
    });
    housekeeping.start();
    await asked.promise;
    shards = [0];
    await housekeeping.stop();
    expect(turns).toBe(0);
  });
});
