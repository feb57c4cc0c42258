import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import {
  findFlowLeases,
  findHeldKeys,
  findLivingTasks,
  findParkedKeys,
  findParkedQueues,
} from '../../src/store/flow.ts';
import { purgeBatch } from '../../src/store/housekeeping.ts';
import { parkTasks } from '../../src/store/park.ts';
import { parkAhead } from '../../src/store/park-ahead.ts';
import { promoteDue } from '../../src/store/promote.ts';
import { deleteQueue, purgeQueue } from '../../src/store/queue-removal.ts';
import { queueStats } from '../../src/store/queue-stats.ts';
import { settleTasks } from '../../src/store/settle.ts';
import { cancelTask } from '../../src/store/task-cancel.ts';
import { deleteTask } from '../../src/store/task-delete.ts';
import { listTasks } from '../../src/store/task-list.ts';
import { readTask } from '../../src/store/task-read.ts';
import { RUN_NOW_RANK, runTask } from '../../src/store/task-run.ts';
import { verifyRooms } from '../../src/store/verify.ts';
import {
  claim,
  claimant,
  claimParked,
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
import { SUCCEED, untilSomeoneWaits, useDatabase } from './task-fixture.ts';

const database = useDatabase();
let owner: Owner;

beforeAll(async () => {
  owner = await createOwner(database.sql);
});

afterAll(async () => {
  expect((await verifyRooms(database.sql)).problems).toEqual([]);
});

const ref = (taskId: string) => ({ project: 'default', taskId });

/** A queue with tasks of these keys, all parked; ids in the order of the keys. */
async function createParked(...keys: string[]): Promise<{ queue: TestQueue; ids: string[] }> {
  const queue = await createQueue(database.sql);
  const ids = await fill(database.sql, queue, ...keys.map((flowKey) => ({ flowKey })));
  await parkTasks(database.sql, 0, await claim(database.sql, owner, [queueClaim(queue)]));
  return { queue, ids };
}

async function nameOf({ queue }: TestQueue): Promise<string> {
  const [row] = await database.sql`select name from errand.queue where id = ${queue}`;
  return row!.name;
}

const idsOf = (tasks: readonly { taskId: string }[]) => tasks.map(({ taskId }) => taskId);

describe('parkTasks()', () => {
  it('keeps the place, the attempts and the history of what it parks', async () => {
    const queue = await createQueue(database.sql);
    await fill(database.sql, queue, ...times(3, { flowKey: 'a', rank: -7 }));
    const cursors = [{ rank: -7, afterSeq: '0' }];
    const first = await claim(database.sql, owner, [queueClaim(queue, { cursors })]);
    const ids = first.map(({ taskId }) => ({ taskId, flowKey: 'a', queue: queue.queue }));
    const parked = await parkTasks(database.sql, 0, first);
    expect(new Set(parked)).toEqual(new Set(ids));
    expect(await roomsOf(database.sql, first[0]!.taskId)).toEqual(['parked']);
    const { tasks } = await claimParked(database.sql, owner, queue, { a: 10 });
    const same = first.map(({ leaseId: _, ...task }) => task);
    expect(tasks.map(({ leaseId: _, ...task }) => task)).toEqual(same);
  });

  it('puts the holder of a key before all others, and lets it go at its own rank', async () => {
    const queue = await createQueue(database.sql);
    const [low, high] = await fill(
      database.sql,
      queue,
      { flowKey: 'a', rank: 5 },
      { flowKey: 'a', rank: -5 },
    );
    const cursors = [-5, 5].map((rank) => ({ rank, afterSeq: '0' }));
    const leases = await claim(database.sql, owner, [queueClaim(queue, { cursors })]);
    const holder = leases.map((lease) => ({ ...lease, isHolder: lease.taskId === low }));
    await parkTasks(database.sql, 0, holder);
    const { tasks } = await claimParked(database.sql, owner, queue, { a: 1 });
    expect(tasks).toMatchObject([{ taskId: low, rank: 5 }]);
    const { tasks: others } = await claimParked(database.sql, owner, queue, { a: 1 });
    expect(idsOf(others)).toEqual([high]);
  });

  it('changes nothing when the lease is gone, and ends what was asked to end', async () => {
    const queue = await createQueue(database.sql);
    const [gone, asked] = await fill(database.sql, queue, ...times(2, { flowKey: 'a' }));
    const leases = await claim(database.sql, owner, [queueClaim(queue)]);
    await settleTasks(database.sql, 0, [settlementOf(leases[0]!, SUCCEED)]);
    await cancelTask(database.sql, ref(asked!));
    expect(await parkTasks(database.sql, 0, leases)).toEqual([]);
    expect(await roomsOf(database.sql, gone!)).toEqual(['succeeded']);
    expect(await roomsOf(database.sql, asked!)).toEqual(['cancelled']);
  });
});

describe('parkAhead()', () => {
  it('moves what is ready of these keys, in its order, and nothing else', async () => {
    const queue = await createQueue(database.sql);
    const keys = ['a', 'b', 'a', 'c', 'b', 'a'];
    const ids = await fill(database.sql, queue, ...keys.map((flowKey) => ({ flowKey })));
    const cursors = [{ rank: 0, afterSeq: '0' }];
    const input = { ...claimant(owner), queue: queue.queue, cursors, limit: 5 };
    const flowKeys = ['a', 'b'];
    const stale = { ...input, epoch: '99', flowKeys };
    expect(await parkAhead(database.sql, stale)).toBe(0);
    expect(await parkAhead(database.sql, { ...input, flowKeys })).toBe(4);
    const left = await claim(database.sql, owner, [queueClaim(queue)]);
    expect(idsOf(left)).toEqual([ids[3], ids[5]]);
    const { tasks } = await claimParked(database.sql, owner, queue, { a: 9 });
    expect(idsOf(tasks)).toEqual([ids[0], ids[2]]);
  });
});

describe('claimParkedTasks()', () => {
  it('takes as many of each key as it is told, and of no other', async () => {
    const { queue, ids } = await createParked('a', 'b', 'a', 'c', 'b', 'a');
    const claimed = await claimParked(database.sql, owner, queue, { a: 2, b: 5 });
    expect(idsOf(claimed.tasks).sort()).toEqual([ids[0], ids[2], ids[1], ids[4]].sort());
    expect(claimed.open).toEqual(new Set([queue.queue]));
    const page = { afterKey: null, limit: 10 };
    const left = await findParkedKeys(database.sql, { id: queue.queue, shard: 0 }, page);
    expect(left).toEqual(['a', 'c']);
  });

  it.each([
    ['another version', 'version = version + 1'],
    ['a paused queue', 'paused_at = now()'],
    ['a queue that is being purged', 'is_purging = true'],
  ])('yields nothing of %s, and says so', async (_, change) => {
    const { queue } = await createParked('a');
    await database.sql.unsafe(`update errand.queue set ${change} where id = ${queue.queue}`);
    const claimed = await claimParked(database.sql, owner, queue, { a: 1 });
    expect(claimed).toEqual({ tasks: [], open: new Set() });
  });

  it('yields nothing at another epoch', async () => {
    const { queue } = await createParked('a');
    const claimed = await claimParked(database.sql, owner, queue, { a: 1 }, { epoch: '99' });
    expect(claimed).toEqual({ tasks: [], open: new Set() });
  });

  it('waits for a take-over under way and finds its epoch gone', async () => {
    const own = await createOwner(database.sql);
    const queue = await createQueue(database.sql);
    await fill(database.sql, queue, { flowKey: 'a' });
    await parkTasks(database.sql, 0, await claim(database.sql, own, [queueClaim(queue)]));
    const other = await openTransaction(database.sql);
    await other.sql`update errand.ownership set epoch = epoch + 1 where pool = ${own.pool}`;
    const claiming = claimParked(database.sql, own, queue, { a: 1 });
    await untilSomeoneWaits(database.sql);
    await other.commit();
    expect((await claiming).tasks).toEqual([]);
  });
});

describe('a parked task', () => {
  it('is shown, listed and counted as ready', async () => {
    const { queue, ids } = await createParked('a', 'a', 'b');
    expect(await readTask(database.sql, ref(ids[0]!))).toMatchObject({
      state: 'ready',
      attempts: 0,
    });
    const filter = { project: 'default', queue: await nameOf(queue), state: 'ready' as const };
    const list = { ...filter, owner: null, limit: 10, before: null };
    expect((await listTasks(database.sql, list)).tasks.map(({ id }) => id)).toEqual(
      ids.toReversed(),
    );
    const stats = await queueStats(database.sql, { id: queue.queue, shard: 0 });
    expect(stats).toMatchObject({ ready: 3, leased: 0, oldestReadyAt: expect.any(Date) });
  });

  it('is cancelled, deleted and told to run like a ready one', async () => {
    const { queue, ids } = await createParked('a', 'a', 'a');
    const wakeUps = (taskId: string) => [{ queue: queue.queue, ended: { taskId, flowKey: 'a' } }];
    const cancelled = await cancelTask(database.sql, ref(ids[0]!));
    expect(cancelled).toMatchObject({ kind: 'cancelled', wakeUps: wakeUps(ids[0]!) });
    const deleted = await deleteTask(database.sql, ref(ids[1]!));
    expect(deleted).toMatchObject({ kind: 'deleted', wakeUps: wakeUps(ids[1]!) });
    const run = await runTask(database.sql, ref(ids[2]!));
    expect(run).toMatchObject({ kind: 'ready', wakeUp: { rank: RUN_NOW_RANK } });
    expect(await roomsOf(database.sql, ids[2]!)).toEqual(['ready']);
  });

  it('keeps its queue from being deleted, and goes with a purge', async () => {
    const { queue, ids } = await createParked('a', 'b');
    const name = await nameOf(queue);
    const input = { project: 'default', name, force: false };
    expect(await deleteQueue(database.sql, input)).toBe('not-empty');
    await purgeQueue(database.sql, 'default', name);
    expect(await purgeBatch(database.sql, { ...queue, limit: 100 })).toBe(2);
    expect(await readTask(database.sql, ref(ids[0]!))).toBeNull();
    expect(await deleteQueue(database.sql, input)).toBe('deleted');
  });
});

describe('what a new owner finds of flow keys', () => {
  it('parked keys page by page, whatever their names, and the queues that have them', async () => {
    const keys = ['a', 'B', 'ü', '', '{"x"}', 'a,b', 'z'];
    const { queue } = await createParked(...keys, ...keys);
    const of = { id: queue.queue, shard: 0 };
    const found: string[] = [];
    for (let page: string[] = ['']; page.length > 0; ) {
      const afterKey = found.at(-1) ?? null;
      page = await findParkedKeys(database.sql, of, { afterKey, limit: 3 });
      found.push(...page);
    }
    expect(found.sort()).toEqual(keys.sort());
    const queues = await findParkedQueues(database.sql, owner.pool, [0, 1]);
    expect(queues.filter(({ id }) => id === queue.queue)).toEqual([{ ...of, version: 1 }]);
  });

  it('tasks that have begun and not ended, wherever they wait', async () => {
    const queue = await createQueue(database.sql);
    const of = { id: queue.queue, shard: 0 };
    const keys = ['later', 'step', 'due', 'parked', 'leased', 'fresh'];
    const ids = await fill(database.sql, queue, ...keys.map((flowKey) => ({ flowKey })));
    const leases = await claim(database.sql, owner, [queueClaim(queue, { limit: 5 })]);
    expect(await findFlowLeases(database.sql, of)).toHaveLength(5);
    await settleTasks(database.sql, 0, [settlementOf(leases[2]!, retryIn(0))]);
    await promoteDue(database.sql, { shards: [0], limit: 100, fromSeconds: null });
    await settleTasks(database.sql, 0, [
      settlementOf(leases[0]!, retryIn(3600)),
      settlementOf(leases[1]!, continueWith('next', { delaySeconds: 3600 })),
    ]);
    await parkTasks(database.sql, 0, [{ ...leases[3]!, isHolder: true }]);
    const held = await findHeldKeys(database.sql, of);
    expect(held.map(({ flowKey, isParked }) => [flowKey, isParked])).toEqual([
      ['parked', true],
      ['later', false],
      ['step', false],
      ['due', false],
    ]);
    expect(await findFlowLeases(database.sql, of)).toEqual([{ flowKey: 'leased', taskId: ids[4] }]);
    await cancelTask(database.sql, ref(ids[0]!));
    const { living, leased, parked } = await findLivingTasks(database.sql, 0, ids);
    expect(living).toEqual(new Set(ids.slice(1)));
    expect(leased).toEqual(new Set([ids[4]]));
    expect(parked).toEqual(new Set([ids[3]]));
  });
});
