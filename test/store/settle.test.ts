import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { ClaimedTask, Settlement } from '../../src/model.ts';
import { settleTasks } from '../../src/store/settle.ts';
import { verifyRooms } from '../../src/store/verify.ts';
import { until } from '../support/until.ts';
import {
  claim,
  claimNew,
  continueWith,
  createOwner,
  createQueue,
  fill,
  type Owner,
  openTransaction,
  queueClaim,
  retryIn,
  roomsOf,
  settlementOf,
  type TestQueue,
  times,
} from './lease-fixture.ts';
import { FAIL, SUCCEED, useDatabase } from './task-fixture.ts';

const database = useDatabase();
let owner: Owner;
let queue: TestQueue;

beforeAll(async () => {
  owner = await createOwner(database.sql);
  queue = await createQueue(database.sql);
});

afterAll(async () => {
  expect((await verifyRooms(database.sql)).problems).toEqual([]);
});

const settle = (...settlements: Settlement[]) => settleTasks(database.sql, 0, settlements);
const claimed = (fields = {}) => claimNew(database.sql, owner, queue, fields);
const rooms = (task: ClaimedTask) => roomsOf(database.sql, task.taskId);
async function finished({ taskId }: ClaimedTask) {
  const [row] = await database.sql`
    select *, extract(epoch from retained_until - finished_at)::float as retained_seconds
    from errand.finished where task = ${taskId}`;
  return row;
}

function attempts({ taskId }: ClaimedTask) {
  return database.sql`select * from errand.attempt where task = ${taskId} order by step, attempt`;
}

async function steps({ taskId }: ClaimedTask) {
  return database.sql`select * from errand.task where id = ${taskId} order by step`;
}

describe('settleTasks()', () => {
  it('succeed: ends the task, keeps its output, logs the attempt', async () => {
    const task = await claimed();
    const output = {
      body: Buffer.alloc(64 * 1024, 'a\0b'),
      contentType: 'image/png',
      fileName: 'ö.png',
      isTruncated: true,
    };
    const settled = await settle(settlementOf(task, { kind: 'succeed', output, progress: 42.5 }));
    expect(settled).toEqual({ leaseIds: new Set([task.leaseId]), wakeUps: [] });
    const row = await finished(task);
    expect(row).toMatchObject({ state: 'succeeded', step: 0, attempt: 1, last_status: 200 });
    expect(row).toMatchObject({ reason: null, progress: 42.5, retained_seconds: 1000 });
    expect(row).toMatchObject({ output: output.body, output_type: 'image/png' });
    expect(row).toMatchObject({ output_name: 'ö.png', is_output_truncated: true });
    const [attempt] = await attempts(task);
    expect(attempt).toMatchObject({ outcome: 'responded', settlement: 'succeed', status: 200 });
    expect(attempt).toMatchObject({ lease_id: task.leaseId, attempt: 1, duration_ms: 12 });
    expect(attempt).toMatchObject({ dispatcher: owner.dispatcher, retry_at: null, error: null });
    expect(await rooms(task)).toEqual(['succeeded']);
  });

  it('fail: ends the task as a dead letter with its reason', async () => {
    const task = await claimed();
    await settle(settlementOf(task, FAIL, { status: 500, error: 'status 500' }));
    expect(await finished(task)).toMatchObject({ state: 'failed', last_status: 500 });
    expect(await finished(task)).toMatchObject({ reason: FAIL.kind === 'fail' && FAIL.reason });
    expect((await attempts(task))[0]).toMatchObject({ settlement: 'fail', error: 'status 500' });
  });

  it('logs no attempt, and counts none, when nothing was dispatched', async () => {
    const task = await claimed();
    await settle(settlementOf(task, FAIL, { outcome: null, status: null }));
    expect(await finished(task)).toMatchObject({ state: 'failed', attempt: 0 });
    expect(await attempts(task)).toEqual([]);
  });

  it('retry: schedules the same step, and tells when', async () => {
    const task = await claimed({ rank: 0 });
    const settled = await settle(settlementOf(task, retryIn(12.5), { status: 429 }));
    expect(settled.wakeUps).toEqual([
      { shard: 0, queue: queue.queue, rank: 0, seq: null, dueInSeconds: 12.5 },
    ]);
    const [row] = await database.sql`select * from errand.scheduled where task = ${task.taskId}`;
    expect(row).toMatchObject({ step: 0, attempt: 1, previous_status: 429, queue: queue.queue });
    const [attempt] = await attempts(task);
    expect(attempt!.retry_at).toEqual(row!.due_at);
    expect(attempt!.started_at).toEqual(row!.first_attempt_at);
  });

  it('promise 6: a continuation and the completion it follows are one write', async () => {
    const task = await claimed({
      url: 'https://one.example/',
      method: 'PATCH',
      headers: { Authorization: 'secret', 'X-A': 'b' },
      contentType: 'application/json',
      flowKey: 'flow',
      retry: { maxAttempts: 7 },
      dispatchDeadlineMs: 2_000,
      retentionSeconds: 33,
      expireAt: new Date('2040-01-01T00:00:00Z'),
      owner: 'ann',
      labels: { a: 'b' },
    });
    const payload = Buffer.from([0, 1, 2, 0]);
    const settled = await settle(settlementOf(task, continueWith(payload, { progress: 10 })));
    const [first, second] = await steps(task);
    const { id, shard, queue: of, rank, url, method, headers, content_type, name } = first!;
    const { flow_key, retry, dispatch_deadline_ms, retention_seconds, expire_at } = first!;
    const { owner: ownedBy, labels, created_at } = first!;
    expect(second).toMatchObject({
      id,
      shard,
      queue: of,
      rank,
      url,
      method,
      headers,
      content_type,
    });
    expect(second).toMatchObject({
      name,
      flow_key,
      retry,
      dispatch_deadline_ms,
      retention_seconds,
    });
    expect(second).toMatchObject({ expire_at, owner: ownedBy, labels, created_at });
    expect(second).toMatchObject({ step: 1, body: payload, progress: 10 });
    expect(await rooms(task)).toEqual(['ready']);
    expect((await attempts(task))[0]).toMatchObject({ step: 0, settlement: 'continue' });
    const [next] = await claim(database.sql, owner, [queueClaim(queue)]);
    expect(next).toMatchObject({ taskId: task.taskId, step: 1, attempt: 1, previousStatus: null });
    expect(settled.wakeUps).toEqual([
      { shard: 0, queue: queue.queue, rank: 0, seq: next!.seq, dueInSeconds: 0 },
    ]);
    await settle(settlementOf(next!, continueWith('third', { delaySeconds: 9 })));
    expect((await steps(task))[2]).toMatchObject({ step: 2, progress: 10 });
    const [row] = await database.sql`select * from errand.scheduled where task = ${task.taskId}`;
    expect(row).toMatchObject({
      step: 2,
      attempt: 0,
      first_attempt_at: null,
      previous_status: null,
    });
  });

  it('continue: drops Authorization, in any case, when it goes to another origin', async () => {
    const url = 'https://two.example/';
    const moved = continueWith('', { url, dropAuthorization: true });
    const next = async (headers: Record<string, string> | null) => {
      const task = await claimed({ headers });
      await settle(settlementOf(task, moved));
      return (await claim(database.sql, owner, [queueClaim(queue)]))[0];
    };
    const kept = { 'X-Authorization': 'mine', 'x-a': 'b' };
    expect(await next({ AUTHORIZATION: 'secret', ...kept })).toMatchObject({ url, headers: kept });
    expect(await next({ authorization: 'secret' })).toMatchObject({ url, headers: {} });
    expect(await next(null)).toMatchObject({ url, headers: {} });
  });

  it('returns no lease id when the lease has expired and been settled', async () => {
    const task = await claimed();
    const lost = settlementOf(task, retryIn(60), { outcome: 'lost', status: null });
    expect((await settle(lost)).leaseIds).toEqual(new Set([task.leaseId]));
    const late = await settle(settlementOf(task, SUCCEED));
    expect(late).toEqual({ leaseIds: new Set(), wakeUps: [] });
    expect(await rooms(task)).toEqual(['scheduled']);
    expect(await attempts(task)).toHaveLength(1);
  });

  it("promise 3: a stale lease can't settle anything, not beside the valid one either", async () => {
    const stale = await claimed();
    await settle(settlementOf(stale, continueWith('next')));
    const [valid] = await claim(database.sql, owner, [queueClaim(queue)]);
    const settled = await settle(
      settlementOf(stale, retryIn(60), { outcome: null }),
      settlementOf(valid!, SUCCEED),
      settlementOf(stale, FAIL),
    );
    expect(settled).toEqual({ leaseIds: new Set([valid!.leaseId]), wakeUps: [] });
    expect(await rooms(stale)).toEqual(['succeeded']);
    expect(await attempts(stale)).toHaveLength(2);
  });

  it('leaseIds has those that were valid: all, some or none, with retries among them or not', async () => {
    const [a, b, c, d] = [await claimed(), await claimed(), await claimed(), await claimed()];
    const ids = (...tasks: ClaimedTask[]) => new Set(tasks.map(({ leaseId }) => leaseId));
    const all = await settle(settlementOf(a!, SUCCEED), settlementOf(b!, retryIn(60)));
    expect(all).toMatchObject({ leaseIds: ids(a!, b!), wakeUps: [{ dueInSeconds: 60 }] });
    // A valid one that only succeeds makes no row by itself, so that it is told beside a lost one.
    const some = await settle(
      ...[a!, b!].map((task) => settlementOf(task, retryIn(60))),
      ...[c!, d!].map((task) => settlementOf(task, SUCCEED)),
    );
    expect(some).toEqual({ leaseIds: ids(c!, d!), wakeUps: [] });
    const none = await settle(...[a!, b!, c!, d!].map((task) => settlementOf(task, FAIL)));
    expect(none).toEqual({ leaseIds: new Set(), wakeUps: [] });
    expect(await settle()).toEqual({ leaseIds: new Set(), wakeUps: [] });
  });

  it('counts a lease that is named twice in one batch once: the first of them stands', async () => {
    const [task, other] = [await claimed(), await claimed()];
    const twice = [
      settlementOf(task!, retryIn(60)),
      settlementOf(task!, FAIL, { outcome: null }),
    ] as const;
    const settled = await settle(...twice, settlementOf(other!, SUCCEED));
    expect(settled.leaseIds).toEqual(new Set([task!.leaseId, other!.leaseId]));
    expect(settled.wakeUps).toHaveLength(1);
    expect(await rooms(task!)).toEqual(['scheduled']);
    const third = await claimed();
    const late = await settle(...twice, settlementOf(third!, SUCCEED), settlementOf(third!, FAIL));
    expect(late).toEqual({ leaseIds: new Set([third!.leaseId]), wakeUps: [] });
    expect(await rooms(third!)).toEqual(['succeeded']);
  });

  it('two at once settle a lease once', async () => {
    const task = await claimed();
    const settled = await Promise.all([1, 2, 3].map(() => settle(settlementOf(task, SUCCEED))));
    expect(settled.map(({ leaseIds }) => leaseIds.size).sort()).toEqual([0, 0, 1]);
    expect(await attempts(task)).toHaveLength(1);
  });

  it('batches that share leases in opposite orders do not deadlock', async () => {
    const tasks = [await claimed(), await claimed(), await claimed()];
    const forwards = tasks.map((task) => settlementOf(task, SUCCEED));
    // Both come to a stop in the middle, each with what it has locked so far.
    const middle = await openTransaction(database.sql);
    await middle.sql`select from errand.lease where task = ${tasks[1]!.taskId} for update`;
    const both = [settle(...forwards), settle(...forwards.toReversed())];
    await until(async () => {
      const [row] = await database.sql`
        select count(*)::int as n from pg_locks l join pg_stat_activity a using (pid)
        where not l.granted and a.datname = current_database()`;
      return row!.n >= 2;
    });
    await middle.commit();
    const settled = await Promise.all(both);
    expect(settled.map(({ leaseIds }) => leaseIds.size).sort()).toEqual([0, 3]);
  });

  it('changes nothing for another shard, nor for ids that nobody knows', async () => {
    const task = await claimed();
    const settlement = settlementOf(task, SUCCEED);
    expect((await settleTasks(database.sql, 1, [settlement])).leaseIds.size).toBe(0);
    const id = 'ffffffffffffffffffffffffffffffff';
    const settled = await settle({ ...settlement, taskId: id, leaseId: id }, settlement);
    expect(settled.leaseIds).toEqual(new Set([task.leaseId]));
  });

  it('settles 300 with outputs of 64 KiB in one statement', async () => {
    await fill(database.sql, queue, ...times(300));
    const tasks = await claim(database.sql, owner, [queueClaim(queue)]);
    const body = Buffer.alloc(64 * 1024, 1);
    const output = { body, contentType: null, fileName: null, isTruncated: false };
    const decisions = [
      { kind: 'succeed', output, progress: null },
      retryIn(60),
      continueWith(body),
      { kind: 'fail', reason: 'no', output },
    ] as const;
    const { leaseIds, wakeUps } = await settle(
      ...tasks.map((task, index) => settlementOf(task, decisions[index % 4]!)),
    );
    expect(leaseIds).toEqual(new Set(tasks.map(({ leaseId }) => leaseId)));
    expect(wakeUps).toHaveLength(150);
    const lie = (await Promise.all(tasks.slice(0, 4).map(rooms))).flat();
    expect(lie).toEqual(['succeeded', 'scheduled', 'ready', 'failed']);
  });

  it('refuses a batch with a row that Postgres refuses, as a whole', async () => {
    const [good, bad] = [await claimed(), await claimed()];
    const batch = [settlementOf(good, SUCCEED), settlementOf(bad, SUCCEED, { error: 'a\0b' })];
    await expect(settle(...batch)).rejects.toMatchObject({ code: '22021' });
    expect(await rooms(good)).toEqual(['lease']);
    expect((await settle(batch[0]!)).leaseIds.size).toBe(1);
  });
});
