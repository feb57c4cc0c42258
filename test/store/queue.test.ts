import { describe, expect, it } from 'vitest';
import { DEFAULT_FLOW_LIMITS, DEFAULT_QUEUE_SETTINGS, type QueueRecord } from '../../src/model.ts';
import type { Sql } from '../../src/store/database.ts';
import { findQueue, loadQueuesByIds, resolveSettings } from '../../src/store/queue.ts';
import { patchQueue, putQueue, setQueuePaused } from '../../src/store/queue-change.ts';
import { deleteQueue, purgeQueue } from '../../src/store/queue-removal.ts';
import { queueStats } from '../../src/store/queue-stats.ts';
import { claimAll, enqueue, useDatabase } from './task-fixture.ts';

const database = useDatabase(8);
const project = 'default';

async function makeQueue(name: string): Promise<QueueRecord> {
  return (await putQueue(database.sql, { project, name, settings: {} })).queue;
}

describe('resolveSettings()', () => {
  it('gives the defaults for nothing', () => {
    expect(resolveSettings({})).toEqual(DEFAULT_QUEUE_SETTINGS);
  });

  it('merges field by field, and lets null override', () => {
    const resolved = resolveSettings({
      retry: { maxAttempts: 3 },
      target: { headers: { a: 'b' } },
      audience: null,
    });
    expect(resolved.retry).toEqual({ ...DEFAULT_QUEUE_SETTINGS.retry, maxAttempts: 3 });
    expect(resolved.target).toEqual({ baseUrl: null, headers: { a: 'b' } });
  });

  it('fills the objects that may be null, and merges a patch over what is under it', () => {
    const under = resolveSettings({ flow: { ordered: true }, circuitBreaker: null });
    expect(under.flow).toEqual({ ...DEFAULT_FLOW_LIMITS, ordered: true });
    expect(under.circuitBreaker).toBeNull();
    const patched = resolveSettings({ flow: { maxBurstSize: 3 }, circuitBreaker: {} }, under);
    expect(patched.flow).toEqual({ ...DEFAULT_FLOW_LIMITS, ordered: true, maxBurstSize: 3 });
    expect(patched.circuitBreaker).toEqual(DEFAULT_QUEUE_SETTINGS.circuitBreaker);
    expect(resolveSettings({ flow: null }, patched).flow).toBeNull();
  });
});

describe('putQueue()', () => {
  it('makes one queue of many at once, on many connections', async () => {
    const results = await Promise.all(
      Array.from({ length: 16 }, () =>
        putQueue(database.sql, { project, name: 'once', settings: { audience: 'x' } }),
      ),
    );
    expect(results.filter((result) => result.isCreated)).toHaveLength(1);
    expect(new Set(results.map((result) => result.queue.id)).size).toBe(1);
  });

  it('replaces a queue that another makes while it waits for the name', async () => {
    const { sql } = database;
    const settings = { audience: 'mine' };
    let waiting: ReturnType<typeof putQueue> | undefined;
    await sql.begin(async (other) => {
      await other`insert into errand.queue (project, name, shard) values (${project}, 'raced', 9)`;
      waiting = putQueue(sql, { project, name: 'raced', settings });
      await aStatementWaits(sql);
    });
    const { queue, isCreated } = await waiting!;
    expect([isCreated, queue.shard, queue.version]).toEqual([false, 9, 2]);
    expect(queue.settings.audience).toBe('mine');
  });

  it('uses up no id for a queue that exists', async () => {
    const first = await makeQueue('no-id-1');
    for (let i = 0; i < 5; i++) await makeQueue('no-id-1');
    expect((await makeQueue('no-id-2')).id).toBe(first.id + 1);
  });

  it('raises the version with every change, whoever makes it', async () => {
    const { version } = await makeQueue('versions');
    await makeQueue('versions');
    await patchQueue(database.sql, { project, name: 'versions', settings: {} });
    await setQueuePaused(database.sql, { project, name: 'versions', paused: true });
    expect((await purgeQueue(database.sql, project, 'versions'))?.version).toBe(version + 4);
  });

  it('gives a new queue the shard with the fewest', async () => {
    const before = await database.sql<{ shard: number; queues: number }[]>`
      select s as shard, (select count(*) from errand.queue q
        where q.shard = s and deleted_at is null)::integer as queues
      from generate_series(0, 63) s order by 2, 1`;
    expect((await makeQueue('emptiest')).shard).toBe(before[0]!.shard);
  });
});

describe('loadQueuesByIds()', () => {
  it('finds queues, and a deleted one as paused and purging', async () => {
    const live = await makeQueue('by-id');
    const gone = await makeQueue('gone-by-id');
    await deleteQueue(database.sql, { project, name: gone.name, force: false });
    const found = await loadQueuesByIds(database.sql, [live.id, gone.id, 2_000_000_000]);
    expect(found).toHaveLength(2);
    expect(found).toContainEqual(live);
    expect(found).toContainEqual({
      ...gone,
      version: gone.version + 1,
      paused: true,
      isPurging: true,
      updatedAt: expect.any(Date),
    });
  });
});

describe('deleteQueue()', () => {
  it.each([
    ['ready', {}],
    ['scheduled', { delaySeconds: 1000 }],
  ])('leaves a queue with a %s task alone, unless it is forced', async (room, options) => {
    const { id, shard, name } = await makeQueue(`busy-${room}`);
    await enqueue(database.sql, { queue: id, shard, ...options });
    expect(await deleteQueue(database.sql, { project, name, force: false })).toBe('not-empty');
    expect(await findQueue(database.sql, project, name)).not.toBeNull();
    expect(await deleteQueue(database.sql, { project, name, force: true })).toBe('deleted');
    expect(await findQueue(database.sql, project, name)).toBeNull();
  });

  it('leaves a queue with a leased task alone', async () => {
    await enqueue(database.sql);
    expect(await claimAll(database.sql)).toHaveLength(1);
    const input = { project, name: 'default', force: false };
    expect(await deleteQueue(database.sql, input)).toBe('not-empty');
  });

  it('deletes a queue whose tasks were purged, though their rows are still there', async () => {
    const { id, shard, name } = await makeQueue('purged-first');
    await enqueue(database.sql, { queue: id, shard });
    await purgeQueue(database.sql, project, name);
    expect(await deleteQueue(database.sql, { project, name, force: false })).toBe('deleted');
  });

  it('says deleted to one of two at once', async () => {
    const { name } = await makeQueue('deleted-twice');
    const results = await Promise.all(
      [1, 2, 3, 4].map(() => deleteQueue(database.sql, { project, name, force: true })),
    );
    expect(results.sort()).toEqual(['deleted', 'not-found', 'not-found', 'not-found']);
  });
});

describe('purgeQueue()', () => {
  it('passes every task that was there, and none that comes after', async () => {
    const { id, shard, name } = await makeQueue('purge-line');
    const before = await enqueue(database.sql, { queue: id, shard });
    await purgeQueue(database.sql, project, name);
    const after = await enqueue(database.sql, { queue: id, shard });
    const [line] = await database.sql`
      select purged_before > ${before} as before, purged_before > ${after} as after
      from errand.queue where id = ${id}`;
    expect(line).toEqual({ before: true, after: false });
  });
});

describe('queueStats()', () => {
  it('counts by room and finds the oldest of any rank', async () => {
    const { sql } = database;
    const queue = await makeQueue('stats');
    const place = { queue: queue.id, shard: queue.shard };
    const old = new Date(Date.now() - 60_000);
    await enqueue(sql, { ...place, rank: -5 });
    await enqueue(sql, place);
    await enqueue(sql, { ...place, rank: 7, dueAt: old });
    await enqueue(sql, { ...place, delaySeconds: 100 });
    expect(await queueStats(sql, queue)).toEqual({
      ready: 3,
      scheduled: 1,
      leased: 0,
      oldestReadyAt: old,
    });
  });

  it('leaves out what a purge has passed', async () => {
    const { sql } = database;
    const queue = await makeQueue('stats-purged');
    const place = { queue: queue.id, shard: queue.shard };
    await enqueue(sql, place);
    await enqueue(sql, { ...place, delaySeconds: 100 });
    await purgeQueue(sql, project, 'stats-purged');
    await enqueue(sql, place);
    expect(await queueStats(sql, queue)).toMatchObject({ ready: 1, scheduled: 0 });
  });

  it("counts what is scheduled behind another queue's long schedule", async () => {
    const { sql } = database;
    const queue = await makeQueue('stats-behind');
    await sql`
      insert into errand.scheduled (shard, due_at, task, step, queue, rank, attempt)
      select ${queue.shard}, now() + interval '1 min', gen_random_uuid(), 0, 1000000, 0, 0
      from generate_series(1, 10050)`;
    await enqueue(sql, { queue: queue.id, shard: queue.shard, delaySeconds: 1000 });
    expect((await queueStats(sql, queue)).scheduled).toBe(1);
  });

  it('stops counting at 10,000', async () => {
    const { sql } = database;
    const queue = await makeQueue('stats-long');
    await sql`
      insert into errand.ready (shard, queue, rank, seq, task, step, attempt, due_at)
      select ${queue.shard}, ${queue.id}, 0, nextval('errand.task_seq'), gen_random_uuid(), 0, 0, now()
      from generate_series(1, 10050)`;
    expect((await queueStats(sql, queue)).ready).toBe(10_000);
  });
});

/** Asks the database until some statement waits for another's transaction. */
async function aStatementWaits(sql: Sql): Promise<void> {
  for (let asked = 0; asked < 10_000; asked++) {
    const [row] = await sql<{ waits: boolean }[]>`
      select exists (select from pg_locks where not granted) as waits`;
    if (row!.waits) return;
  }
  throw new Error('Expected a statement to wait for a lock, but none did');
}
