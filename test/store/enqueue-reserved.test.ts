import { beforeAll, describe, expect, it } from 'vitest';
import type { ClaimedTask, LeaseGrant } from '../../src/model.ts';
import { enqueueReservedTasks, type ReservedTask } from '../../src/store/enqueue-reserved.ts';
import { findFlowLeases } from '../../src/store/flow.ts';
import { renewEpoch, takeShards } from '../../src/store/ownership.ts';
import { releaseTasks } from '../../src/store/release.ts';
import { settleTasks } from '../../src/store/settle.ts';
import { verifyRooms } from '../../src/store/verify.ts';
import { newTask } from '../support/new-task.ts';
import { stopAtIds } from '../support/stopped-ids.ts';
import {
  claim,
  createOwner,
  createQueue,
  fill,
  type Owner,
  openTransaction,
  queueClaim,
  register,
  roomsOf,
  settlementOf,
  type TestQueue,
  times,
} from './lease-fixture.ts';
import { SUCCEED, untilSomeoneWaits, useDatabase } from './task-fixture.ts';

const database = useDatabase();
let owner: Owner;
let queue: TestQueue;

beforeAll(async () => {
  owner = await createOwner(database.sql, [0, 1]);
  queue = await newQueue();
});

async function newQueue(shard = 0, of = owner): Promise<TestQueue> {
  const made = await createQueue(database.sql, { shard });
  await database.sql`update errand.queue set pool = ${of.pool} where id = ${made.queue}`;
  return made;
}

function grantOf({ shard, version }: TestQueue, fields: Partial<LeaseGrant> = {}, of = owner) {
  return {
    pool: of.pool,
    dispatcher: of.dispatcher,
    epoch: of.epochs.get(shard)!,
    claim: -1,
    version,
    afterSeq: '0',
    dispatchDeadlineSeconds: 600,
    leaseMarginSeconds: 10,
    ...fields,
  };
}

type TaskFields = Parameters<typeof newTask>[0];

/** A task of a queue, reserved unless its grant is null. */
function reserved(
  of: TestQueue,
  grant: Partial<LeaseGrant> | null = {},
  fields: TaskFields = {},
): ReservedTask {
  const task = newTask({ queue: of.queue, shard: of.shard, ...fields });
  return { task, grant: grant === null ? null : grantOf(of, grant) };
}

/** In which room each came to lie, in the order of the input. */
async function send(...items: ReservedTask[]): Promise<string[]> {
  const results = await enqueueReservedTasks(database.sql, items);
  const rooms = await Promise.all(
    results.map(async ({ result, lease }) => {
      const [room, ...more] = await roomsOf(database.sql, result.taskId);
      expect(more).toEqual([]);
      expect(lease !== null).toBe(room === 'lease');
      return room!;
    }),
  );
  expect((await verifyRooms(database.sql)).problems).toEqual([]);
  return rooms;
}

describe('enqueueReservedTasks()', () => {
  it('leases a task of the owner, as its first attempt', async () => {
    const of = await newQueue();
    const [one] = await enqueueReservedTasks(database.sql, [
      reserved(of, { claim: -7, leaseMarginSeconds: 2.5, dispatchDeadlineSeconds: 30 }),
    ]);
    const { result, lease } = one!;
    expect(lease).toMatchObject({ attempt: 1, step: 0, taskId: result.taskId, queue: of.queue });
    const [row] = await database.sql`
      select lease_id, dispatcher, claim::integer, epoch::text, rank, seq::text, step, attempt, due_at,
        first_attempt_at, previous_status, flow_key,
        extract(epoch from expires_at - started_at)::float as seconds
      from errand.lease where task = ${result.taskId}`;
    expect(row).toEqual({
      lease_id: lease!.leaseId,
      dispatcher: owner.dispatcher,
      claim: -7,
      epoch: owner.epochs.get(0),
      rank: 0,
      seq: lease!.seq,
      step: 0,
      attempt: 1,
      due_at: lease!.scheduledAt,
      first_attempt_at: null,
      previous_status: null,
      flow_key: null,
      seconds: 32.5,
    });
    expect(result).toMatchObject({ kind: 'created', seq: lease!.seq, dueInSeconds: 0 });
    const settled = await settleTasks(database.sql, 0, [settlementOf(lease!, SUCCEED)]);
    expect([...settled.leaseIds]).toEqual([lease!.leaseId]);
  });

  it("ends the lease by the task's own deadline where it has one", async () => {
    const item = reserved(await newQueue(), {}, { dispatchDeadlineMs: 1_200 });
    const [one] = await enqueueReservedTasks(database.sql, [item]);
    const [row] = await database.sql`
      select extract(epoch from expires_at - started_at)::float as seconds
      from errand.lease where task = ${one!.result.taskId}`;
    expect(row).toEqual({ seconds: 11.2 });
    expect(one!.lease!.dispatchDeadlineSeconds).toBe(1.2);
  });

  it.each([
    ['bare', {}],
    [
      'full',
      {
        rank: -3,
        url: 'https://worker.example/a?b=c',
        method: 'PUT',
        headers: { 'X-Tenant': 'ä"\\' },
        contentType: null,
        body: new Uint8Array(Buffer.from([9, 0, 255, 0, 9])).subarray(1, 4),
        flowKey: 'a key',
        retry: { maxAttempts: 3, minBackoffSeconds: 0.25 },
        dispatchDeadlineMs: 1_500,
        retentionSeconds: 0.5,
        dueAt: new Date('2026-01-02T03:04:05.678Z'),
        owner: 'someone',
        labels: { a: 'b' },
      },
    ],
  ])('answers what a claim of the same task does: %s', async (_, fields) => {
    const of = await newQueue();
    const [one] = await enqueueReservedTasks(database.sql, [reserved(of, {}, fields)]);
    const { leaseId, taskId, seq, scheduledAt, ...granted } = one!.lease!;
    const cursors = [{ rank: granted.rank, afterSeq: '0' }];
    const [taskOfClaim] = await fill(database.sql, of, fields);
    const [claimed] = await claim(database.sql, owner, [queueClaim(of, { cursors })]);
    expect(claimed).toEqual({ ...granted, ...pick(claimed!) });
    expect(claimed!.taskId).toBe(taskOfClaim);
    expect(one!.lease!.body).toBeInstanceOf(Buffer);

    // Given back and claimed, it is the same in every field but its lease and its number in the line.
    await releaseTasks(database.sql, 0, [{ taskId, leaseId }]);
    const [again] = await claim(database.sql, owner, [queueClaim(of, { cursors })]);
    expect(again).toEqual({ ...one!.lease, leaseId: again!.leaseId });
    expect([again!.seq, again!.scheduledAt, again!.taskId]).toEqual([seq, scheduledAt, taskId]);
  });

  it("keeps the task's flow key where a queue that gets a flow later finds it", async () => {
    const of = await newQueue();
    const [one] = await enqueueReservedTasks(database.sql, [reserved(of, {}, { flowKey: 'a' })]);
    const found = await findFlowLeases(database.sql, { id: of.queue, shard: 0 });
    expect(found).toEqual([{ flowKey: 'a', taskId: one!.result.taskId }]);
  });

  it('makes ready what another epoch or dispatcher, version or pool was granted', async () => {
    const old = String(BigInt(owner.epochs.get(0)!) - 1n);
    const wrong = [
      { epoch: old },
      { dispatcher: owner.dispatcher + 1 },
      { version: 2 },
      { pool: 'default' },
    ];
    for (const grant of wrong) expect(await send(reserved(queue, grant))).toEqual(['ready']);
    const of = await newQueue();
    await database.sql`update errand.queue set pool = 'default' where id = ${of.queue}`;
    expect(await send(reserved(of))).toEqual(['ready']);
  });

  it('makes ready what belongs to a queue that is paused, being purged or deleted', async () => {
    const of = await newQueue();
    for (const column of ['paused_at', 'deleted_at', 'is_purging']) {
      const [closed, open] = column === 'is_purging' ? ['true', 'false'] : ['now()', 'null'];
      const set = (value: string) =>
        database.sql.unsafe(`update errand.queue set ${column} = ${value} where id = ${of.queue}`);
      await set(closed);
      expect(await send(reserved(of))).toEqual(['ready']);
      await set(open);
      await database.sql`delete from errand.ready where queue = ${of.queue}`;
      await database.sql`delete from errand.task where queue = ${of.queue}`;
    }
    expect(await send(reserved(of))).toEqual(['lease']);
  });

  it('waits for no one: what is locked makes it ready', async () => {
    for (const table of ['ownership', 'queue']) {
      const [mine, other] = [await createOwner(database.sql), await openTransaction(database.sql)];
      const of = await newQueue(0, mine);
      const column = table === 'queue' ? 'id' : 'pool';
      const value = table === 'queue' ? of.queue : `'${mine.pool}'`;
      await other.sql.unsafe(`select from errand.${table} where ${column} = ${value} for update`);
      const item = () => ({ ...reserved(of), grant: grantOf(of, {}, mine) });
      expect(await send(item())).toEqual(['ready']);
      await other.commit();
      const [, first] = await database.sql`
        delete from errand.ready where queue = ${of.queue} returning task`;
      expect(first).toBeUndefined();
      await database.sql`delete from errand.task where queue = ${of.queue}`;
      expect(await send(item())).toEqual(['lease']);
    }
  });

  it('promise 5: makes ready what comes after a task of its rank, and only of its rank', async () => {
    const of = await newQueue();
    const [older] = await fill(database.sql, of, { rank: 0 });
    const [row] = await database.sql<{ seq: string }[]>`
      select seq::text from errand.ready where task = ${older!}`;
    const before = { afterSeq: String(BigInt(row!.seq) - 1n) };
    expect(await send(reserved(of, before))).toEqual(['ready']);
    expect(await send(reserved(of, before, { rank: 1 }))).toEqual(['lease']);
    const [last] = await database.sql<{ seq: string }[]>`
      select max(seq)::text as seq from errand.ready where queue = ${of.queue}`;
    expect(await send(reserved(of, { afterSeq: last!.seq }))).toEqual(['lease']);
  });

  it('schedules what is for later', async () => {
    expect(await send(reserved(queue, {}, { delaySeconds: 60 }))).toEqual(['scheduled']);
    const dueAt = new Date(Date.now() + 60_000);
    expect(await send(reserved(queue, {}, { dueAt }))).toEqual(['scheduled']);
  });

  it('answers a mixed batch in the order of the input, each in its line', async () => {
    const [a, b, c] = [await newQueue(0), await newQueue(1), await newQueue(0)];
    const items = [
      reserved(a, { claim: -1 }, { url: 'http://127.0.0.1:9/0' }),
      reserved(b, null, { url: 'http://127.0.0.1:9/1' }),
      reserved(b, { claim: -2 }, { url: 'http://127.0.0.1:9/2' }),
      reserved(c, { version: 9 }, { url: 'http://127.0.0.1:9/3' }),
      reserved(a, { claim: -3 }, { url: 'http://127.0.0.1:9/4' }),
      reserved(c, {}, { url: 'http://127.0.0.1:9/5', delaySeconds: 60 }),
      ...times(20).map((_, at) => reserved(a, {}, { url: `http://127.0.0.1:9/${at + 6}` })),
    ];
    const results = await enqueueReservedTasks(database.sql, items);
    for (const [at, { result, lease }] of results.entries()) {
      const [row] = await database.sql`select url from errand.task where id = ${result.taskId}`;
      expect(row!.url).toBe(`http://127.0.0.1:9/${at}`);
      expect(lease?.url ?? row!.url).toBe(row!.url);
      const room = [1, 3].includes(at) ? 'ready' : at === 5 ? 'scheduled' : 'lease';
      expect(await roomsOf(database.sql, result.taskId)).toEqual([room]);
      expect('seq' in result && result.seq !== null).toBe(room !== 'scheduled');
    }
    const ofA = results.flatMap(({ lease }) =>
      lease?.queue === a.queue ? [BigInt(lease.seq)] : [],
    );
    expect(ofA).toEqual([...ofA].sort((one, other) => Number(one - other)));
    const claims = await database.sql`
      select claim::integer from errand.lease where queue in (${a.queue}, ${b.queue}) order by seq limit 3`;
    expect(claims.map((row) => row.claim)).toEqual([-1, -2, -3]);
    expect((await verifyRooms(database.sql)).problems).toEqual([]);
  });

  it('is waited for by a take-over, and yields no lease once it saw the epoch raised', async () => {
    const old = await createOwner(database.sql);
    const of = await newQueue(0, old);
    const item = () => ({ ...reserved(of), grant: grantOf(of, {}, old) });
    const open = await openTransaction(database.sql);
    const [first] = await enqueueReservedTasks(open.sql, [item()]);
    expect(first!.lease).not.toBeNull();
    const heir = await register(database.sql, old.pool);
    const input = { pool: old.pool, dispatcher: heir, dead: [old.dispatcher], limit: 64 };
    const taking = takeShards(database.sql, input);
    await untilSomeoneWaits(database.sql);
    await open.commit();
    await taking;
    expect(await roomsOf(database.sql, first!.result.taskId)).toEqual(['lease']);
    expect(await send(item())).toEqual(['ready']);
  });

  it('checks the epoch as it is, not as it was when the statement began', async () => {
    const mine = await createOwner(database.sql);
    const of = await newQueue(0, mine);
    const ids = await stopAtIds(database.sql);
    const late = enqueueReservedTasks(database.sql, [
      { ...reserved(of), grant: grantOf(of, {}, mine) },
    ]);
    await ids.reached();
    await renewEpoch(database.sql, { pool: mine.pool, shard: 0, dispatcher: mine.dispatcher });
    await ids.end();
    expect((await late)[0]!.lease).toBeNull();
  });
});

function pick({ leaseId, taskId, seq, scheduledAt }: ClaimedTask) {
  return { leaseId, taskId, seq, scheduledAt };
}
