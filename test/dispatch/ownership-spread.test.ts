import { afterEach, describe, expect, test } from 'vitest';
import type { createOwnership, Ownership } from '../../src/dispatch/ownership.ts';
import { SHARDS } from '../../src/model.ts';
import { type LeftLevels, renewEpoch } from '../../src/store/ownership.ts';
import { startTcpProxy } from '../support/tcp-proxy.ts';
import { until } from '../support/until.ts';
import { openWatchedDatabase } from '../support/watched-database.ts';
import {
  bench,
  cleanups,
  create,
  isRegistered,
  nextBeat,
  POOL,
  registerOther,
  useOwnership,
} from './ownership-fixture.ts';

useOwnership();

describe('ownerships of one pool', () => {
  const others: Ownership[] = [];

  afterEach(async () => {
    for (const other of others.splice(0)) await other.leave();
  });

  async function join(options: Partial<Parameters<typeof createOwnership>[0]> = {}) {
    const other = create(options);
    others.push(other);
    await other.start();
    return other;
  }

  async function spread(...sizes: number[]): Promise<void> {
    const all = [bench.ownership, ...others];
    const now = () => all.map((one) => one.shards().size).sort((a, b) => b - a);
    await until(() => now().join() === sizes.join(), { what: `shards spread ${sizes}` });
    const shards = all.flatMap((one) => [...one.shards().keys()]);
    expect(new Set(shards).size).toBe(shards.length);
  }

  test('the second gets half of the shards, with the levels that the first left', async () => {
    await bench.ownership.start();
    const second = await join();
    await spread(32, 32);
    for (const [shard, { handover }] of second.shards()) {
      expect(handover?.levels).toEqual({ [shard]: 1.5 });
    }
  });

  test('three share 22, 22 and 20, and a fourth of another pool none', async () => {
    await bench.ownership.start();
    await join();
    await join();
    await spread(22, 22, 20);
    const alien = create({ pool: 'another' });
    await alien.start();
    expect(alien.shards().size).toBe(0);
    await nextBeat();
    await spread(22, 22, 20);
    await alien.leave();
  });

  test('one that drains a queue takes its shard alone, and has no share in the others', async () => {
    const draining = await join({ onlyQueue: { id: 1, shard: 7 } });
    expect([...draining.shards().keys()]).toEqual([7]);
    await bench.ownership.start();
    await spread(63, 1);
    await nextBeat();
    await spread(63, 1);
    await draining.handOver();
    await spread(64, 0);
  });

  test('of two that drain queues of one shard, the second takes it when the first has gone', async () => {
    const first = await join({ onlyQueue: { id: 1, shard: 7 } });
    const second = await join({ onlyQueue: { id: 2, shard: 7 } });
    expect([first.shards().size, second.shards().size]).toEqual([1, 0]);
    await first.leave();
    await until(() => second.shards().size === 1, { what: 'the shard' });
  });

  test('handOver() moves all shards with their levels, while the calls of the first still end', async () => {
    await bench.ownership.start();
    const second = await join();
    await spread(32, 32);
    const before = [...bench.ownership.shards().keys()];
    await bench.ownership.handOver();
    await spread(64, 0);
    for (const shard of before) {
      expect(second.shards().get(shard)!.handover?.levels).toEqual({ [shard]: 1.5 });
    }
    expect(await isRegistered(bench.ownership.dispatcher())).toBe(true);
  });

  test('a hand-over while the database is away is made when it is back', async () => {
    const proxy = await startTcpProxy(bench.schema.url);
    cleanups.push(() => proxy.close());
    await bench.watched.close();
    bench.watched = openWatchedDatabase(proxy.url, 200);
    bench.ownership = create({
      database: bench.watched,
      async onHandOver(shards) {
        proxy.cut();
        return shards.map((shard) => ({
          shard,
          left: { since: 0, levels: {}, older: {}, flows: {} },
        }));
      },
    });
    await bench.ownership.start();
    await join();
    await until(() => bench.ownership.shards().size === 32);
    const failed = bench.watched.ended();
    await until(() => bench.watched.ended() > failed, { what: 'a release that fails' });
    expect(others[0]!.shards().size).toBe(0);
    proxy.mend();
    await spread(32, 32);
  });

  test('shards whose take-over was never answered are taken all the same', async () => {
    let failures = 1;
    bench.ownership = create({
      database: bench.watched,
      async prepare() {
        if (failures-- > 0) throw new Error('not prepared');
      },
    });
    await bench.ownership.start();
    expect(bench.ownership.shards().size).toBe(0);
    await spread(64);
    expect(bench.ownership.shards().get(0)!.handover).toBeNull();
  });

  test('shards whose hand-over failed for good are shared all the same', async () => {
    const unwritable = { since: 1n } as unknown as LeftLevels;
    bench.ownership = create({
      database: bench.watched,
      onHandOver: async (shards) => shards.map((shard) => ({ shard, left: unwritable })),
    });
    await bench.ownership.start();
    await join();
    await spread(32, 32);
  });

  test('a take-over that is done after it was given up leaves no shard to nobody', async () => {
    await bench.ownership.start();
    await join();
    await spread(32, 32);
    const [theirs] = others[0]!.shards().keys();
    const { epoch } = others[0]!.shards().get(theirs!)!;
    await bench.database.run(
      (sql) => sql`
        update errand.ownership set dispatcher = ${bench.ownership.dispatcher()}, epoch = epoch + 1
        where pool = ${POOL} and shard = ${theirs!}`,
    );
    await until(() => others[0]!.shards().get(theirs!)?.epoch !== epoch);
    await spread(32, 32);
  });

  const raise = (shard: number) =>
    bench.database.run((sql) =>
      renewEpoch(sql, { pool: POOL, shard, dispatcher: bench.ownership.dispatcher() }),
    );

  test('an epoch that was raised by a statement that was given up is taken over', async () => {
    await bench.ownership.start();
    const raised = (await raise(7))!.epoch;
    await until(() => bench.ownership.shards().get(7)!.epoch === raised);
    expect(bench.ownership.shards().size).toBe(SHARDS);
  });

  test('an epoch that a recovery raises while its shard is being taken is taken over', async () => {
    let raised: string | undefined;
    bench.ownership = create({
      database: bench.watched,
      async prepare() {
        raised = (await raise(7))!.epoch;
      },
    });
    await bench.ownership.start();
    expect(bench.ownership.shards().size).toBe(SHARDS);
    await until(() => bench.ownership.shards().get(7)!.epoch === raised);
  });

  test('after a crash there are no levels to inherit', async () => {
    const dead = await registerOther();
    await bench.database.run((sql) => sql`delete from errand.dispatcher where id = ${dead}`);
    await bench.ownership.start();
    expect([...bench.ownership.shards().values()].every(({ handover }) => handover === null)).toBe(
      true,
    );
  });
});
