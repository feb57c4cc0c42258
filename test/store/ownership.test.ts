import { describe, expect, it } from 'vitest';
import { findLeases } from '../../src/store/claim.ts';
import {
  beat,
  countForeignLeases,
  type LeftLevels,
  leave,
  releaseShards,
  renewEpoch,
  strikeDead,
  takeShards,
} from '../../src/store/ownership.ts';
import {
  claim,
  createOwner,
  createPool,
  createQueue,
  fill,
  openTransaction,
  queueClaim,
  register,
} from './lease-fixture.ts';
import { untilSomeoneWaits, useDatabase } from './task-fixture.ts';

const database = useDatabase(12);
const SHARDS = [0, 1, 2, 3, 4, 5, 6, 7];

function take(pool: string, dispatcher: number, fields: { dead?: number[]; limit?: number } = {}) {
  return takeShards(database.sql, { pool, dispatcher, dead: [], limit: 64, ...fields });
}

const shardsOf = (taken: { shard: number }[]) => taken.map(({ shard }) => shard).sort();

async function ownersOf(pool: string): Promise<(number | null)[]> {
  const rows = await database.sql<{ dispatcher: number | null }[]>`
    select dispatcher from errand.ownership where pool = ${pool} order by shard`;
  return rows.map(({ dispatcher }) => dispatcher);
}

async function heartbeatOf(dispatcher: number): Promise<string> {
  const [row] = await database.sql<{ heartbeat: string }[]>`
    select heartbeat from errand.dispatcher where id = ${dispatcher}`;
  return row!.heartbeat;
}

describe('beat()', () => {
  it('moves our own counter on, tells of everyone, and what time it is', async () => {
    const pool = await createPool(database.sql);
    const [mine, other] = [await register(database.sql, pool), await register(database.sql, pool)];
    await beat(database.sql, mine);
    const heartbeat = await beat(database.sql, mine);
    expect(heartbeat.isAlive).toBe(true);
    expect(heartbeat.dispatchers).toContainEqual(
      expect.objectContaining({ id: other, pool, heartbeat: '0' }),
    );
    expect([await heartbeatOf(mine), await heartbeatOf(other)]).toEqual(['2', '0']);
    const [row] = await database.sql`select clock_timestamp() as now`;
    const awayMs = row!.now.getTime() - heartbeat.databaseTime.getTime();
    expect(awayMs).toBeGreaterThanOrEqual(0);
    expect(awayMs).toBeLessThan(5_000);
  });

  it('tells a dispatcher that was struck that it is not alive', async () => {
    const { dispatcher } = await createOwner(database.sql);
    await strikeDead(database.sql, [{ id: dispatcher, heartbeat: '0' }]);
    expect(await beat(database.sql, dispatcher)).toMatchObject({ isAlive: false });
  });
});

describe('strikeDead()', () => {
  it('spares a dispatcher whose counter has moved', async () => {
    const pool = await createPool(database.sql);
    const [moved, still] = [await register(database.sql, pool), await register(database.sql, pool)];
    await beat(database.sql, moved);
    const dead = [moved, still].map((id) => ({ id, heartbeat: '0' }));
    expect(await strikeDead(database.sql, dead)).toEqual([still]);
    expect(await strikeDead(database.sql, [])).toEqual([]);
  });

  it('spares a dispatcher whose beat is being written', async () => {
    const pool = await createPool(database.sql);
    const id = await register(database.sql, pool);
    const other = await openTransaction(database.sql);
    await beat(other.sql, id);
    const striking = strikeDead(database.sql, [{ id, heartbeat: '0' }]);
    await untilSomeoneWaits(database.sql);
    await other.commit();
    expect(await striking).toEqual([]);
  });
});

describe('takeShards()', () => {
  it('takes what is free, up to its limit, and raises the epochs', async () => {
    const pool = await createPool(database.sql, SHARDS);
    const [a, b] = [await register(database.sql, pool), await register(database.sql, pool)];
    const first = await take(pool, a, { limit: 3 });
    expect(first.toSorted((one, other) => one.shard - other.shard)).toEqual(
      [0, 1, 2].map((shard) => ({ shard, epoch: '1', handover: { at: 0, levels: {} } })),
    );
    expect(shardsOf(await take(pool, b))).toEqual([3, 4, 5, 6, 7]);
    expect(await take(pool, a)).toEqual([]);
    expect(await ownersOf(pool)).toEqual([a, a, a, b, b, b, b, b]);
  });

  it('takes over from the dead and from dispatchers that are gone, not from the living', async () => {
    const pool = await createPool(database.sql, [0, 1, 2]);
    const [dead, gone, alive, heir] = await Promise.all(
      [1, 2, 3, 4].map(() => register(database.sql, pool)),
    );
    for (const id of [dead, gone, alive]) await take(pool, id!, { limit: 1 });
    await database.sql`delete from errand.dispatcher where id = ${gone!}`;
    expect(await take(pool, heir!, { dead: [dead!] })).toHaveLength(2);
    expect((await ownersOf(pool)).filter((id) => id === alive)).toHaveLength(1);
  });

  it('leaves other pools alone', async () => {
    const [pool, other] = [await createPool(database.sql), await createPool(database.sql)];
    const id = await register(database.sql, pool);
    await take(pool, id);
    expect(await ownersOf(other)).toEqual([null]);
  });

  it('of many contenders at once, each shard gets exactly one', async () => {
    const pool = await createPool(database.sql, SHARDS);
    const ids = await Promise.all(SHARDS.map(() => register(database.sql, pool)));
    const taken = await Promise.all(ids.map((id) => take(pool, id)));
    expect(shardsOf(taken.flat())).toEqual(SHARDS);
    const owners = SHARDS.map((shard) => ids[taken.findIndex((t) => shardsOf(t).includes(shard))]);
    expect(await ownersOf(pool)).toEqual(owners);
  });

  it('takes nothing from one who came while it waited', async () => {
    const pool = await createPool(database.sql);
    const late = await register(database.sql, pool);
    const other = await openTransaction(database.sql);
    const first = await register(other.sql, pool);
    await takeShards(other.sql, { pool, dispatcher: first, dead: [], limit: 64 });
    const taking = take(pool, late);
    await untilSomeoneWaits(database.sql);
    await other.commit();
    expect(await taking).toEqual([]);
    expect(await ownersOf(pool)).toEqual([first]);
  });
});

describe('releaseShards()', () => {
  it('leaves levels to the next owner, once; after a crash there is nothing left', async () => {
    const pool = await createPool(database.sql, [0, 1]);
    const ids = await Promise.all([1, 2, 3].map(() => register(database.sql, pool)));
    await take(pool, ids[0]!);
    const flows = { 7: { keys: { a: 0.5, b: -0.1 }, others: 60 } };
    const left: LeftLevels[] = [
      { since: 5, levels: { 7: 2.5 }, older: {}, flows },
      { since: 5, levels: {}, older: {}, flows: {} },
    ];
    const shards = left.map((levels, shard) => ({ shard, left: levels }));
    const beforeSeconds = Date.now() / 1000;
    await releaseShards(database.sql, { pool, dispatcher: ids[0]!, shards });
    expect(await ownersOf(pool)).toEqual([null, null]);
    const taken = await take(pool, ids[1]!);
    expect(taken.map(({ handover }) => handover)).toMatchObject(left);
    expect(Math.abs(taken[0]!.handover!.at - beforeSeconds)).toBeLessThan(60);
    const inherited = await take(pool, ids[2]!, { dead: [ids[1]!] });
    expect(inherited.map(({ handover }) => handover)).toEqual([null, null]);
  });

  it('lets go of nothing that another has taken meanwhile', async () => {
    const pool = await createPool(database.sql, [0]);
    const [old, heir] = [await register(database.sql, pool), await register(database.sql, pool)];
    await take(pool, old);
    await take(pool, heir, { dead: [old] });
    const shards = [{ shard: 0, left: { since: 0, levels: {}, older: {}, flows: {} } }];
    await releaseShards(database.sql, { pool, dispatcher: old, shards });
    expect(await ownersOf(pool)).toEqual([heir]);
  });
});

describe('countForeignLeases()', () => {
  it('counts leases from before the take-over by queue, until they are gone', async () => {
    const owner = await createOwner(database.sql, [23]);
    const queue = await createQueue(database.sql, { shard: 23 });
    await fill(database.sql, queue, {}, {}, {});
    const claimTwo = () =>
      claim(database.sql, owner, [queueClaim(queue, { limit: 2 })], { shard: 23 });
    expect(await claimTwo()).toHaveLength(2);
    const old = { shard: 23, epoch: owner.epochs.get(23)! };
    expect(await countForeignLeases(database.sql, [old])).toEqual(new Map());
    const renewed = await renewEpoch(database.sql, { ...owner, shard: 23 });
    owner.epochs.set(23, renewed!.epoch);
    expect(await claimTwo()).toHaveLength(1);
    const count = () => countForeignLeases(database.sql, [renewed!]);
    expect(await count()).toEqual(new Map([[queue.queue, 2]]));
    await database.sql`delete from errand.lease where shard = 23 and epoch = ${old.epoch}`;
    expect(await count()).toEqual(new Map());
  });
});

describe('renewEpoch()', () => {
  it('fences off what we claimed before, and tells when the shard is no longer ours', async () => {
    const owner = await createOwner(database.sql);
    const queue = await createQueue(database.sql);
    await fill(database.sql, queue, {});
    const renew = () => renewEpoch(database.sql, { ...owner, shard: 0 });
    const renewed = await renew();
    expect(renewed).toEqual({ shard: 0, epoch: '2' });
    expect(await claim(database.sql, owner, [queueClaim(queue)])).toEqual([]);
    owner.epochs.set(0, renewed!.epoch);
    expect(await claim(database.sql, owner, [queueClaim(queue)])).toHaveLength(1);
    await leave(database.sql, owner.dispatcher);
    expect(await renew()).toBeNull();
  });
});

describe('leave()', () => {
  it('lets go of every shard, and what was leased is found as lost', async () => {
    const owner = await createOwner(database.sql, [20, 21]);
    const queue = await createQueue(database.sql, { shard: 20 });
    await fill(database.sql, queue, {});
    await claim(database.sql, owner, [queueClaim(queue)], { shard: 20 });
    await leave(database.sql, owner.dispatcher);
    await leave(database.sql, owner.dispatcher);
    expect(await ownersOf(owner.pool)).toEqual([null, null]);
    expect(await beat(database.sql, owner.dispatcher)).toMatchObject({ isAlive: false });
    const lost = { shards: [20], limit: 10, of: 'lost' } as const;
    expect(await findLeases(database.sql, lost)).toHaveLength(1);
    const heir = await register(database.sql, owner.pool);
    expect(await take(owner.pool, heir)).toMatchObject([{ epoch: '2' }, { epoch: '2' }]);
  });
});
