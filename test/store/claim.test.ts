import { beforeAll, describe, expect, it } from 'vitest';
import type { ClaimedTask } from '../../src/model.ts';
import { claimTasks, findLeases } from '../../src/store/claim.ts';
import { leave, renewEpoch, takeShards } from '../../src/store/ownership.ts';
import { settleTasks } from '../../src/store/settle.ts';
import { cancelTask } from '../../src/store/task-cancel.ts';
import {
  claim,
  claimant,
  claimNew,
  createOwner,
  createQueue,
  fill,
  giveTo,
  type Owner,
  openTransaction,
  queueClaim,
  register,
  retryIn,
  roomsOf,
  settlementOf,
  type TestQueue,
  times,
} from './lease-fixture.ts';
import { untilSomeoneWaits, useDatabase } from './task-fixture.ts';

const database = useDatabase();
let owner: Owner;

beforeAll(async () => {
  owner = await createOwner(database.sql);
});

const ids = (tasks: ClaimedTask[]) => tasks.map((task) => task.taskId);
const ranked = (ranks: number[]) => ranks.map((rank) => ({ rank, afterSeq: '0' }));

async function filled(count: number): Promise<{ queue: TestQueue; tasks: string[] }> {
  const queue = await createQueue(database.sql);
  return { queue, tasks: await fill(database.sql, queue, ...times(count)) };
}

async function leaseOf(task: ClaimedTask) {
  const [row] = await database.sql<
    { dispatcher: number; claim: string; seconds: number; attempt: number; is_same: boolean }[]
  >`
    select dispatcher, claim, attempt, lease_id = ${task.leaseId} as is_same,
      extract(epoch from expires_at - started_at)::float as seconds
    from errand.lease where task = ${task.taskId}`;
  return row;
}

describe('claimTasks()', () => {
  it('promise 5: takes higher priority first, then first in, first out', async () => {
    const queue = await createQueue(database.sql);
    const ranks = [0, -7, 3, 0, -7, 3];
    const tasks = await fill(database.sql, queue, ...ranks.map((rank) => ({ rank })));
    const cursors = ranked([-7, 0, 3]);
    const first = await claim(database.sql, owner, [queueClaim(queue, { limit: 3, cursors })]);
    expect(ids(first)).toEqual([1, 4, 0].map((index) => tasks[index]));
    const rest = await claim(database.sql, owner, [queueClaim(queue, { cursors })]);
    expect(ids(rest)).toEqual([3, 2, 5].map((index) => tasks[index]));
    expect(await claim(database.sql, owner, [queueClaim(queue, { cursors })])).toEqual([]);
  });

  it('moves a task from ready to lease, with everything a dispatch needs', async () => {
    const queue = await createQueue(database.sql);
    const fields = {
      url: 'https://worker.example/a?b=c',
      method: 'PUT',
      headers: { 'X-Tenant': 'ä"\\' },
      contentType: 'image/png',
      body: Buffer.from([0, 255, 0]),
      retry: { maxAttempts: 3 },
      dispatchDeadlineMs: 1_500,
      retentionSeconds: 0.5,
    };
    const task = await claimNew(database.sql, owner, queue, fields);
    const { dispatchDeadlineMs, ...same } = fields;
    expect(task).toMatchObject({ ...same, dispatchDeadlineSeconds: 1.5, attempt: 1, step: 0 });
    expect(task).toMatchObject({ isExpired: false, previousStatus: null, name: null });
    expect(task.secondsSinceFirstAttempt).toBe(0);
    expect(await roomsOf(database.sql, task.taskId)).toEqual(['lease']);
    expect(await leaseOf(task)).toMatchObject({ dispatcher: owner.dispatcher, is_same: true });
  });

  it('gives each of several queues its own limit, at once', async () => {
    const [a, b, empty] = [await filled(5), await filled(5), await filled(0)];
    const tasks = await claim(database.sql, owner, [
      queueClaim(b.queue, { limit: 2 }),
      queueClaim(empty.queue),
      queueClaim(a.queue, { limit: 4 }),
    ]);
    expect(ids(tasks)).toEqual([...a.tasks.slice(0, 4), ...b.tasks.slice(0, 2)]);
  });

  it('tells by rank which queues it emptied', async () => {
    const [emptied, more] = [await filled(2), await filled(3)];
    const ofRanks = await createQueue(database.sql);
    await fill(database.sql, ofRanks, { rank: -1 }, { rank: 4 });
    const queues = [
      queueClaim(emptied.queue, { limit: 2 }),
      queueClaim(more.queue, { limit: 2 }),
      queueClaim(ofRanks, { limit: 1, cursors: ranked([-1, 4]) }),
    ];
    await giveTo(database.sql, owner, queues);
    const answer = await claimTasks(database.sql, { ...claimant(owner), queues });
    expect(answer.tasks).toHaveLength(5);
    expect(answer.emptied).toEqual(
      new Map([
        [emptied.queue.queue, 0],
        [ofRanks.queue, -1],
      ]),
    );
  });

  it('returns nothing that lies before the cursor', async () => {
    const { queue, tasks } = await filled(4);
    const [, second] = await database.sql`
      select seq from errand.ready where queue = ${queue.queue} order by seq`;
    const cursors = [{ rank: 0, afterSeq: second!.seq as string }];
    const claimed = await claim(database.sql, owner, [queueClaim(queue, { cursors })]);
    expect(ids(claimed)).toEqual(tasks.slice(2));
    expect(ids(await claim(database.sql, owner, [queueClaim(queue)]))).toEqual(tasks.slice(0, 2));
  });

  it('returns nothing of a rank without a cursor', async () => {
    const { queue } = await filled(1);
    expect(await claim(database.sql, owner, [queueClaim(queue, { cursors: ranked([1]) })])).toEqual(
      [],
    );
  });

  it('yields nothing with an old epoch, to another dispatcher, or for another shard or pool', async () => {
    const { queue } = await filled(1);
    const mine = [queueClaim(queue)];
    const epoch = owner.epochs.get(0)!;
    const wrong = [
      { epoch: String(BigInt(epoch) - 1n) },
      { dispatcher: owner.dispatcher + 1 },
      { shard: 1, epoch },
      { pool: 'default' },
    ];
    for (const fields of wrong) {
      expect(await claim(database.sql, owner, mine, fields)).toEqual([]);
    }
    expect(await claim(database.sql, owner, mine)).toHaveLength(1);
  });

  it('yields nothing of a queue that is paused, being purged, or was changed since', async () => {
    const { queue } = await filled(1);
    const row = (change: string) =>
      database.sql`update errand.queue set ${database.sql.unsafe(change)} where id = ${queue.queue}`;
    for (const [break_, mend] of [
      ['paused_at = now()', 'paused_at = null'],
      ['is_purging = true', 'is_purging = false'],
      ['version = 2', 'version = 1'],
    ] as const) {
      await row(break_);
      expect(await claim(database.sql, owner, [queueClaim(queue)])).toEqual([]);
      await row(mend);
    }
    expect(await claim(database.sql, owner, [queueClaim(queue)])).toHaveLength(1);
  });

  it('skips a task whose cancellation is not yet committed, and waits for nothing', async () => {
    const { queue, tasks } = await filled(3);
    const other = await openTransaction(database.sql);
    await cancelTask(other.sql, { project: 'default', taskId: tasks[0]! });
    const limit = 2;
    const claimed = await claim(database.sql, owner, [queueClaim(queue, { limit })]);
    await other.commit();
    expect(ids(claimed)).toEqual(tasks.slice(1));
    expect(await claim(database.sql, owner, [queueClaim(queue)])).toEqual([]);
  });

  it('two at once take each task once', async () => {
    const { queue, tasks } = await filled(200);
    const claims = await Promise.all(
      [1, 2, 3, 4].map((number) =>
        claim(database.sql, owner, [queueClaim(queue, { limit: 60 })], { claim: number }),
      ),
    );
    const rest = await claim(database.sql, owner, [queueClaim(queue)]);
    expect([...claims, rest].flatMap(ids).sort()).toEqual(tasks.sort());
  });

  it("ends a lease at the attempt's deadline and a margin", async () => {
    const queue = await createQueue(database.sql);
    const seconds = async (fields: object) => {
      const [taskId] = await fill(database.sql, queue, fields);
      const of = [queueClaim(queue, { dispatchDeadlineSeconds: 30.5 })];
      const tasks = await claim(database.sql, owner, of, { leaseMarginSeconds: 2.25 });
      expect(ids(tasks)).toEqual([taskId]);
      return (await leaseOf(tasks[0]!))!.seconds;
    };
    expect(await seconds({})).toBe(32.75);
    expect(await seconds({ dispatchDeadlineMs: 1_200 })).toBe(3.45);
  });

  it('counts attempts, and remembers the first and the last status, through a retry', async () => {
    const queue = await createQueue(database.sql);
    const first = await claimNew(database.sql, owner, queue);
    await settleTasks(database.sql, 0, [settlementOf(first, retryIn(60), { status: 503 })]);
    await database.sql`
      with due as (delete from errand.scheduled where task = ${first.taskId} returning *)
      insert into errand.ready select shard, queue, rank, nextval('errand.task_seq'), task, step,
        attempt, due_at, first_attempt_at - interval '90 seconds', previous_status from due`;
    const [second] = await claim(database.sql, owner, [queueClaim(queue)]);
    expect(second).toMatchObject({ attempt: 2, previousStatus: 503, taskId: first.taskId });
    expect(second!.leaseId).not.toBe(first.leaseId);
    expect(second!.secondsSinceFirstAttempt).toBeGreaterThanOrEqual(90);
    expect(second!.secondsSinceFirstAttempt).toBeLessThan(120);
  });

  it('tells when a task is past its expire time', async () => {
    const queue = await createQueue(database.sql);
    const [past, future] = [-1000, 60_000].map((ms) => ({ expireAt: new Date(Date.now() + ms) }));
    expect(await claimNew(database.sql, owner, queue, past)).toMatchObject({ isExpired: true });
    expect(await claimNew(database.sql, owner, queue, future)).toMatchObject({ isExpired: false });
  });

  it('is waited for by a take-over, which then sees all its leases', async () => {
    const old = await createOwner(database.sql);
    const { queue, tasks } = await filled(50);
    const open = await openTransaction(database.sql);
    const claimed = await claim(open.sql, old, [queueClaim(queue)]);
    const heir = await register(database.sql, old.pool);
    let isTaken = false;
    const input = { pool: old.pool, dispatcher: heir, dead: [old.dispatcher], limit: 64 };
    const taking = takeShards(database.sql, input).then((taken) => {
      isTaken = true;
      return taken;
    });
    await untilSomeoneWaits(database.sql);
    expect(isTaken).toBe(false);
    await open.commit();
    const [taken] = await taking;
    const which = { shards: [0], limit: 1000, dispatcher: old.dispatcher, claim: 1 };
    expect(ids(claimed).sort()).toEqual([...tasks].sort());
    expect(ids(await findLeases(database.sql, which)).sort()).toEqual([...tasks].sort());
    expect(BigInt(taken!.epoch)).toBe(BigInt(old.epochs.get(0)!) + 1n);
  });

  it('yields nothing when it waited for a take-over', async () => {
    const old = await createOwner(database.sql);
    const { queue, tasks } = await filled(3);
    const open = await openTransaction(database.sql);
    await renewEpoch(open.sql, { pool: old.pool, shard: 0, dispatcher: old.dispatcher });
    const claiming = claim(database.sql, old, [queueClaim(queue)]);
    await untilSomeoneWaits(database.sql);
    await open.commit();
    expect(await claiming).toEqual([]);
    for (const task of tasks) expect(await roomsOf(database.sql, task)).toEqual(['ready']);
  });
});

describe('findLeases()', () => {
  const of = (
    which: { shards?: number[]; limit?: number } & ({ claim: number } | { of: 'lost' }),
  ) => findLeases(database.sql, { shards: [9], limit: 100, dispatcher: dead.dispatcher, ...which });
  let dead: Owner;

  beforeAll(async () => {
    dead = await createOwner(database.sql, [9]);
  });

  it('reads one claim back as it was answered', async () => {
    const queue = await createQueue(database.sql, { shard: 9 });
    await fill(database.sql, queue, ...times(4, { headers: { a: 'b' } }));
    const take = (claimNumber: number) =>
      claim(database.sql, dead, [queueClaim(queue, { limit: 2 })], {
        shard: 9,
        claim: claimNumber,
      });
    const [first, second] = [await take(1), await take(2)];
    const byId = (a: ClaimedTask, b: ClaimedTask) => a.taskId.localeCompare(b.taskId);
    expect((await of({ claim: 2 })).sort(byId)).toEqual(second.sort(byId));
    expect(ids(await of({ claim: 1 })).sort()).toEqual(ids(first).sort());
    expect(await of({ claim: 1, limit: 1 })).toHaveLength(1);
    expect(await of({ claim: 3 })).toEqual([]);
    expect(await of({ claim: 1, shards: [10] })).toEqual([]);
  });

  it('finds as lost what is past its end or of a dispatcher that is gone', async () => {
    expect(await of({ of: 'lost' })).toEqual([]);
    const [row] = await database.sql`
      update errand.lease set expires_at = now() - interval '1 second'
      where (shard, task) = (select shard, task from errand.lease where shard = 9 limit 1)
      returning task`;
    expect(ids(await of({ of: 'lost' }))).toEqual([row!.task.replaceAll('-', '')]);
    await leave(database.sql, dead.dispatcher);
    expect(await of({ of: 'lost' })).toHaveLength(4);
    expect(await of({ of: 'lost', limit: 3 })).toHaveLength(3);
  });
});
