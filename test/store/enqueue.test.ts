import { describe, expect, it } from 'vitest';
import { type Enqueued, enqueueTasks, freshTasks } from '../../src/store/enqueue.ts';
import { enqueueNamedTasks, isRowRefused } from '../../src/store/enqueue-named.ts';
import { sqlState } from '../../src/store/errors.ts';
import { shardOf } from '../../src/store/task-id.ts';
import { readTask } from '../../src/store/task-read.ts';
import { verifyRooms } from '../../src/store/verify.ts';
import { newTask, QUEUE, untilSomeoneWaits, useDatabase } from './task-fixture.ts';

const database = useDatabase();
const hash = (byte: number) => Buffer.alloc(32, byte);
const kinds = (results: Enqueued[]) => results.map((result) => result.kind);
const read = (taskId: string) =>
  readTask(database.sql, { project: 'default', taskId }, { withPayload: true });

function created(result: Enqueued | undefined) {
  if (result?.kind !== 'created') throw new Error(`Expected a new task, got ${result?.kind}`);
  return result;
}

describe('enqueueTasks()', () => {
  it('makes a task ready at once and tells its place', async () => {
    const [result] = await enqueueTasks(database.sql, [newTask({ rank: -5 })]);
    const { taskId, seq, dueInSeconds } = created(result);
    const [row] = await database.sql`select rank, seq from errand.ready where task = ${taskId}`;
    expect(row).toMatchObject({ rank: -5, seq });
    expect(dueInSeconds).toBe(0);
  });

  it('gives a batch its sequence numbers in its own order, and its results too', async () => {
    const tasks = Array.from({ length: 300 }, (_, i) => newTask({ url: `https://w.example/${i}` }));
    const results = (await enqueueTasks(database.sql, tasks)).map(created);
    const seqs = results.map((result) => BigInt(result.seq!));
    expect(seqs).toEqual([...seqs].sort((a, b) => (a < b ? -1 : 1)));
    expect((await read(results[123]!.taskId))?.url).toBe('https://w.example/123');
  });

  it('schedules a delayed task by the database clock', async () => {
    const [result] = await enqueueTasks(database.sql, [newTask({ delaySeconds: 90.5 })]);
    const { seq, dueInSeconds, createdAt, scheduledAt } = created(result);
    expect(seq).toBeNull();
    expect(dueInSeconds).toBeCloseTo(90.5, 3);
    expect(scheduledAt.getTime() - createdAt.getTime()).toBe(90_500);
  });

  it('schedules a task for a time, and makes it ready when that has passed', async () => {
    const dueAt = new Date(Date.now() + 3_600_000);
    const past = new Date('2020-01-02T03:04:05.678Z');
    const results = await enqueueTasks(database.sql, [
      newTask({ dueAt }),
      newTask({ dueAt: past }),
    ]);
    const [later, overdue] = results.map(created);
    expect([later?.scheduledAt, later?.seq]).toEqual([dueAt, null]);
    expect(overdue?.scheduledAt).toEqual(past);
    expect(overdue?.seq).not.toBeNull();
  });

  it('keeps every field, and NUL bytes in the payload', async () => {
    const task = newTask({
      body: Buffer.from([0, 1, 0, 255]),
      headers: { 'X-A': '{"quoted"}, \\ and, commas' },
      retry: { maxAttempts: -1, minBackoffSeconds: 0.25 },
      labels: { a: '', 'ü"': 'NULL' },
      owner: 'NULL',
      flowKey: 'a,b',
      dispatchDeadlineMs: 1500,
      retentionSeconds: 0.5,
      expireAt: new Date('2031-02-03T04:05:06.789Z'),
      contentType: null,
    });
    const [result] = await enqueueTasks(database.sql, [task]);
    const stored = await read(created(result).taskId);
    const {
      shard,
      queue,
      body,
      sealed,
      dispatchDeadlineMs,
      dueAt,
      delaySeconds,
      idempotency,
      ...kept
    } = task;
    const seen = { ...kept, seal: sealed, queueId: queue, dispatchDeadlineSeconds: 1.5 };
    expect(stored).toMatchObject(seen);
    expect(shardOf(stored!.id)).toBe(shard);
    expect(Buffer.from(stored!.body!)).toEqual(body);
  });

  it('puts the shard into the id, where shardOf() finds it', async () => {
    const rows = await database.sql<{ shard: number; id: string }[]>`
      select s as shard, replace(errand.task_id(now(), s, gen_random_uuid())::text, '-', '') as id
      from generate_series(0, 63) s
    `;
    expect(rows.map((row) => shardOf(row.id))).toEqual(rows.map((row) => row.shard));
  });
});

describe('errand.task_id()', () => {
  it('is a UUIDv7 of its time to the microsecond, its shard, and chance', async () => {
    const rows = await database.sql<
      { micros: string; shard: number; chance: string; id: string }[]
    >`
      select (extract(epoch from at) * 1000000)::bigint::text as micros, shard, chance,
        errand.task_id(at, shard, chance) as id
      from (
        select timestamptz '2000-01-01' + random() * interval '200 years' as at, i % 64 as shard,
          gen_random_uuid() as chance
        from generate_series(1, 10000) i
      ) made`;
    const hex = (value: bigint, digits: number) => value.toString(16).padStart(digits, '0');
    for (const { micros, shard, chance, id } of rows) {
      const [milliseconds, rest] = [BigInt(micros) / 1_000n, BigInt(micros) % 1_000n];
      const two = BigInt(Number.parseInt(chance.slice(0, 2), 16) & 3);
      expect(id.replaceAll('-', '')).toBe(
        hex(milliseconds, 12) +
          hex(0x7000n + rest * 4n, 4) +
          hex(0x8000n + BigInt(shard) * 4n + two, 4) +
          chance.slice(-12),
      );
    }
  });

  it('is inlined where tasks are enqueued', async () => {
    const plan = await database.sql`
      explain (verbose) ${freshTasks(database.sql, [newTask()])}`;
    const text = plan.map((row) => row['QUERY PLAN']).join('\n');
    expect(text).toContain('int8send');
    expect(text).not.toContain('task_id');
  });
});

describe('enqueueNamedTasks()', () => {
  it('refuses a taken name, naming the task that has it, and lets the others through', async () => {
    const [first] = await enqueueNamedTasks(database.sql, [newTask({ name: 'taken' })]);
    const results = await enqueueNamedTasks(database.sql, [
      newTask({ name: 'zebra' }),
      newTask({ name: 'taken' }),
      newTask({}),
    ]);
    expect(kinds(results)).toEqual(['created', 'name-taken', 'created']);
    expect(results[1]).toMatchObject({ taskId: created(first).taskId });
  });

  it('keeps a name taken until it is free, then gives it to the next', async () => {
    const { sql } = database;
    const free = (when: string) => sql`
      update errand.task_name set free_from = now() + ${when}::interval where name = 'freed'`;
    await enqueueNamedTasks(sql, [newTask({ name: 'freed' })]);
    await free('1 hour');
    expect(kinds(await enqueueNamedTasks(sql, [newTask({ name: 'freed' })]))).toEqual([
      'name-taken',
    ]);
    await free('-1 second');
    expect(kinds(await enqueueNamedTasks(sql, [newTask({ name: 'freed' })]))).toEqual(['created']);
    expect(kinds(await enqueueNamedTasks(sql, [newTask({ name: 'freed' })]))).toEqual([
      'name-taken',
    ]);
  });

  it('answers a repeated key with the first task, and a changed request with a mismatch', async () => {
    const keyed = (requestHash: Buffer) => newTask({ idempotency: { key: 'k1', requestHash } });
    const [first] = await enqueueNamedTasks(database.sql, [keyed(hash(1))]);
    const { taskId } = created(first);
    expect(await enqueueNamedTasks(database.sql, [keyed(hash(1))])).toEqual([
      { kind: 'repeated', taskId },
    ]);
    expect(await enqueueNamedTasks(database.sql, [keyed(hash(2))])).toEqual([
      { kind: 'mismatch', taskId },
    ]);
  });

  it('forgets a key after its day', async () => {
    const keyed = newTask({ idempotency: { key: 'old', requestHash: hash(1) } });
    await enqueueNamedTasks(database.sql, [keyed]);
    await database.sql`update errand.idempotency set expires_at = now() where key = 'old'`;
    expect(kinds(await enqueueNamedTasks(database.sql, [keyed]))).toEqual(['created']);
  });

  it('does not use up the key of a row whose name is taken', async () => {
    await enqueueNamedTasks(database.sql, [newTask({ name: 'held' })]);
    const both = newTask({ name: 'held', idempotency: { key: 'k-held', requestHash: hash(1) } });
    expect(kinds(await enqueueNamedTasks(database.sql, [both]))).toEqual(['name-taken']);
    expect(kinds(await enqueueNamedTasks(database.sql, [both]))).toEqual(['name-taken']);
    const keys = await database.sql`select from errand.idempotency where key = 'k-held'`;
    expect(keys).toHaveLength(0);
  });

  it('rolls back when the name of a keyed row is taken in that very moment', async () => {
    const other = await database.sql.reserve();
    await other`begin`;
    await enqueueNamedTasks(other, [newTask({ name: 'raced' })]);
    const both = newTask({ name: 'raced', idempotency: { key: 'k-raced', requestHash: hash(1) } });
    const race = enqueueNamedTasks(database.sql, [both]).catch(sqlState);
    await untilSomeoneWaits(database.sql);
    await other`commit`;
    other.release();
    expect(await race).toBe('ER001');
    expect(kinds(await enqueueNamedTasks(database.sql, [both]))).toEqual(['name-taken']);
  });

  it('gives up on a name that an open transaction holds, within a second', async () => {
    const other = await database.sql.reserve();
    await other`begin`;
    await enqueueNamedTasks(other, [newTask({ name: 'open' })]);
    const started = performance.now();
    const error = await enqueueNamedTasks(database.sql, [newTask({ name: 'open' })]).catch(
      (e) => e,
    );
    expect([sqlState(error), isRowRefused(error)]).toEqual(['55P03', true]);
    expect(performance.now() - started).toBeLessThan(1_000);
    await other`rollback`;
    other.release();
    expect(kinds(await enqueueNamedTasks(database.sql, [newTask({ name: 'open' })]))).toEqual([
      'created',
    ]);
  });

  it('creates one task when many ask for a name at once', async () => {
    const race = Array.from({ length: 12 }, () =>
      enqueueNamedTasks(database.sql, [newTask({ name: 'wanted' })]),
    );
    const results = (await Promise.all(race)).flat();
    const winner = results.find((result) => result.kind === 'created');
    expect(kinds(results).filter((kind) => kind === 'created')).toHaveLength(1);
    expect(new Set(results.map((result) => result.taskId))).toEqual(new Set([winner?.taskId]));
  });

  it('does not deadlock on names in reversed order', async () => {
    const names = Array.from({ length: 40 }, (_, i) => `reversed-${i}`);
    for (let round = 0; round < 10; round += 1) {
      const batch = names.map((name) => newTask({ name: `${name}-${round}` }));
      const results = await Promise.all([
        enqueueNamedTasks(database.sql, batch),
        enqueueNamedTasks(database.sql, batch.toReversed()),
      ]);
      expect(kinds(results.flat()).filter((kind) => kind === 'created')).toHaveLength(names.length);
    }
  });

  it('lets the first row of a name or key count, and the others find it', async () => {
    const keyed = (name: string, key: string) =>
      newTask({ name, idempotency: { key, requestHash: hash(1) } });
    const batch = [
      newTask({ name: 'rep' }),
      keyed('rep', 'rep-1'),
      newTask({ name: 'rep' }),
      keyed('rep-2', 'rep-2'),
      keyed('rep-3', 'rep-2'),
    ];
    const results = await enqueueNamedTasks(database.sql, batch);
    expect(kinds(results)).toEqual(['created', 'name-taken', 'name-taken', 'created', 'repeated']);
    expect(new Set(results.slice(0, 3).map((result) => result.taskId)).size).toBe(1);
    // A first row that creates nothing leaves the name to the next.
    await database.sql`update errand.task_name set free_from = now() where name = 'rep-2'`;
    const again = [keyed('rep-2', 'rep-2'), newTask({ name: 'rep-2' }), newTask({ name: 'rep-2' })];
    expect(kinds(await enqueueNamedTasks(database.sql, again))).toEqual([
      'repeated',
      'created',
      'name-taken',
    ]);
  });

  it('takes every key of a batch before any name', async () => {
    const other = await database.sql.reserve();
    await other`begin`;
    await other`
      insert into errand.idempotency (shard, queue, key, request_hash, task, expires_at)
      values (${QUEUE.shard}, ${QUEUE.id}, 'k-first', ${hash(1)}, gen_random_uuid(), now())`;
    const batch = enqueueNamedTasks(database.sql, [
      newTask({ name: 'a-first' }),
      newTask({ name: 'b-first', idempotency: { key: 'k-first', requestHash: hash(1) } }),
    ]);
    await untilSomeoneWaits(database.sql);
    await other`set local lock_timeout = '100ms'`;
    await enqueueNamedTasks(other, [newTask({ name: 'a-first' })]);
    await other`commit`;
    other.release();
    expect(kinds(await batch)).toEqual(['name-taken', 'created']);
  });

  it('leaves every task in exactly one room', async () => {
    expect((await verifyRooms(database.sql)).problems).toEqual([]);
  });
});
