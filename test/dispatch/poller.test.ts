import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { createPoller, type Poller } from '../../src/dispatch/poller.ts';
import { connect, type Sql } from '../../src/store/database.ts';
import { enqueueTasks } from '../../src/store/enqueue.ts';
import type { ClaimedPlace, ReadyHead } from '../../src/store/find-work.ts';
import { createTestDatabase, type TestDatabase } from '../support/database.ts';
import { silentLog, startBench } from '../support/dispatcher.ts';
import { newTask } from '../support/new-task.ts';
import { startTarget } from '../support/target.ts';
import { until } from '../support/until.ts';
import { openWatchedDatabase, type WatchedDatabase } from '../support/watched-database.ts';

let schema: TestDatabase;
let sql: Sql;
let watched: WatchedDatabase;
let poller: Poller;
let heads: (ReadyHead & { atMs: number })[];
let looks: number;
let claimed: ClaimedPlace[];
/** What each statement was given, in milliseconds; undefined where that was the database's own bound. */
let bounds: (number | undefined)[];

beforeAll(async () => {
  schema = await createTestDatabase();
  sql = connect({ url: schema.url, connections: 4, name: 'test' });
  watched = openWatchedDatabase(schema.url);
});

afterAll(async () => {
  await watched.close();
  await sql.end();
  await schema.drop();
});

beforeEach(async () => {
  await sql`truncate errand.ready, errand.scheduled, errand.task`;
  heads = [];
  looks = 0;
  claimed = [];
  bounds = [];
});

async function polling(during: () => Promise<unknown>, monotonic = () => performance.now()) {
  poller = createPoller({
    database: {
      ...watched,
      run(verb, options) {
        bounds.push(options?.timeoutMs);
        return watched.run(verb, options);
      },
    },
    pool: 'default',
    shards: () => [0],
    claimed: () => claimed,
    monotonic,
    log: silentLog,
    onHeads: (found) => heads.push(...found.map((head) => ({ ...head, atMs: performance.now() }))),
    onLook: async () => {
      looks += 1;
    },
  });
  poller.start();
  try {
    await during();
  } finally {
    await poller.stop();
  }
}

const pass = (ms: number) => new Promise((resolve) => setTimeout(resolve, ms));

describe('poller', () => {
  test('looks no more than 5 times in a second when there is nothing to do', async () => {
    await polling(async () => {
      const from = watched.begun();
      await pass(2_000);
      const statements = watched.begun() - from;
      expect(statements).toBeGreaterThanOrEqual(4);
      expect(statements).toBeLessThanOrEqual(10);
      expect(looks).toBeGreaterThanOrEqual(4);
    });
  });

  test('promotes a task when it is due, not at the next look, without being told of it', async () => {
    await polling(async () => {
      for (const delaySeconds of [0.4, 0.7]) {
        await sql`truncate errand.ready`;
        heads = [];
        const [created] = await enqueueTasks(sql, [newTask({ delaySeconds })]);
        await until(() => heads.length > 0, { timeoutMs: 2_000 });
        const [row] = await sql<{ late: number }[]>`
          select extract(epoch from clock_timestamp() - t.scheduled_at)::float8 * 1000 as late
          from errand.task t where t.id = ${(created as { taskId: string }).taskId}`;
        const sinceFoundMs = performance.now() - heads[0]!.atMs;
        // By then a look has seen it, so its time is known; the next look might come 300 ms late.
        expect(row!.late - sinceFoundMs).toBeLessThan(150);
      }
    });
  });

  test('noteDue() makes it promote at the moment it is told', async () => {
    await polling(async () => {
      const lateMs: number[] = [];
      for (let round = 0; round < 5; round++) {
        await sql`truncate errand.ready`;
        heads = [];
        const [created] = await enqueueTasks(sql, [newTask({ delaySeconds: 0.25 })]);
        const dueMs =
          performance.now() + (created as { dueInSeconds: number }).dueInSeconds * 1_000;
        poller.noteDue((created as { dueInSeconds: number }).dueInSeconds);
        await until(() => heads.length > 0, { timeoutMs: 2_000 });
        lateMs.push(heads[0]!.atMs - dueMs);
      }
      lateMs.sort((one, other) => one - other);
      expect(lateMs[0]).toBeGreaterThan(-15);
      // A look might come at any time within 300 ms; a busy machine may be late once or twice.
      expect(lateMs[2]).toBeLessThan(30);
    });
  });

  test('promotes more than a batch holds without a pause between the batches', async () => {
    await enqueueTasks(
      sql,
      Array.from({ length: 2_500 }, () => newTask({ delaySeconds: 0.1 })),
    );
    await pass(150);
    await polling(async () => {
      await until(async () => (await sql`select from errand.scheduled limit 1`).length === 0, {
        timeoutMs: 1_500,
      });
    });
  });

  test('lookNow() looks though no look is due', async () => {
    await polling(
      async () => {
        await until(() => looks > 0);
        await enqueueTasks(sql, [newTask()]);
        await pass(400);
        expect(heads).toEqual([]);
        poller.lookNow();
        await until(() => heads.length > 0);
      },
      () => 0,
    );
  });

  test('gets no rarer than one look in 3 s after a look that the database made wait', async () => {
    let nowMs = 0;
    await polling(
      async () => {
        await until(() => watched.begun() > 0);
        const release = watched.holdAnswers();
        const from = watched.answered();
        nowMs += 300;
        await until(() => watched.answered() > from);
        nowMs += 1_900;
        release();
        await until(() => watched.ended() >= from + 2);
        await enqueueTasks(sql, [newTask()]);
        nowMs += 3_000;
        await until(() => heads.length > 0, { timeoutMs: 4_000 });
      },
      () => nowMs,
    );
  });

  describe('when whole looks take 2 s each', () => {
    let nowMs: number;

    /** Passes the time and waits for the look that is due then; it takes `tookMs`. */
    async function lookAfter(ms: number, tookMs = 0): Promise<void> {
      await until(() => watched.begun() === watched.ended());
      const [answered, before] = [watched.answered(), looks];
      const release = watched.holdAnswers();
      nowMs += ms;
      await until(() => watched.answered() > answered, { what: 'a look' });
      nowMs += tookMs;
      release();
      await until(() => looks > before);
    }

    async function pollingDearly(during: () => Promise<unknown>): Promise<void> {
      nowMs = 0;
      const looking = async () => {
        await until(() => looks > 0);
        await lookAfter(300, 2_000);
        await lookAfter(3_000, 2_000);
        await during();
      };
      await polling(looking, () => nowMs);
    }

    const ranks = () => new Set(heads.map(({ rank }) => rank));

    test('there is one in 20 s, and others look past what was claimed', async () => {
      claimed = [{ shard: 0, queue: 1, rank: 0, seq: '0' }];
      await pollingDearly(async () => {
        await enqueueTasks(sql, [newTask(), newTask({ rank: -1 })]);
        for (const ms of [300, 6_000, 6_000, 6_000]) {
          await lookAfter(ms);
          expect(ranks()).toEqual(new Set([0]));
        }
        await lookAfter(3_000);
        expect(ranks()).toEqual(new Set([-1, 0]));
      });
    });

    test('each has time for as long as the last one took, and no more than 30 s', async () => {
      await pollingDearly(async () => {
        await lookAfter(20_000, 9_000);
        await lookAfter(20_000);
        const wholes = bounds.filter((bound) => bound !== undefined);
        expect(wholes.slice(-3)).toEqual([10_000, 10_000, 30_000]);
        expect(wholes[0]).toBe(2_000);
      });
    });

    test('lookNow() makes the next look a whole one', async () => {
      await pollingDearly(async () => {
        await enqueueTasks(sql, [newTask()]);
        await lookAfter(300);
        expect(heads).toEqual([]);
        nowMs += 1;
        poller.lookNow();
        await lookAfter(300);
        expect(ranks()).toEqual(new Set([0]));
      });
    });
  });

  test('goes on after polls that failed', async () => {
    await polling(async () => {
      await sql`alter table errand.scheduled rename to renamed`;
      const from = watched.begun();
      await until(() => watched.ended() > from + 1);
      await sql`alter table errand.renamed rename to scheduled`;
      await enqueueTasks(sql, [newTask()]);
      await until(() => heads.length > 0);
    });
  });
});

test('a task committed late, behind what is claimed already, is dispatched within 400 ms', async () => {
  const [bench, target] = await Promise.all([startBench(), startTarget()]);
  const other = connect({ url: bench.databaseUrl, connections: 1, name: 'late' });
  const waits: number[] = [];
  try {
    for (let round = 1; round <= 4; round++) {
      let committedMs = 0;
      await other.begin(async (transaction) => {
        await enqueueTasks(transaction as unknown as Sql, [newTask({ url: `${target.url}/late` })]);
        await bench.enqueue(...Array.from({ length: 5 }, () => ({ url: `${target.url}/early` })));
        await target.arrived(round * 6 - 1);
        committedMs = performance.now();
      });
      const last = (await target.arrived(round * 6)).at(-1)!;
      expect(last.path).toBe('/late');
      waits.push(last.atMs - committedMs);
    }
  } finally {
    await other.end();
    await bench.close();
    await target.close();
  }
  // A look may wait for a busy machine, so not all are held to it.
  expect(Math.min(...waits)).toBeLessThan(400);
  expect(Math.max(...waits)).toBeLessThan(3_000);
});
