import { describe, expect, test } from 'vitest';
import { SHARDS } from '../../src/model.ts';
import { leave, registerDispatcher, takeShards } from '../../src/store/ownership.ts';
import { startTcpProxy } from '../support/tcp-proxy.ts';
import { until } from '../support/until.ts';
import { openWatchedDatabase } from '../support/watched-database.ts';
import {
  beatOf,
  bench,
  CERTAIN_MS,
  cleanups,
  create,
  DEAD_MS,
  isRegistered,
  nextBeat,
  POOL,
  passInBeats,
  registerOther,
  TAKEOVER_MS,
  useOwnership,
} from './ownership-fixture.ts';

useOwnership();

describe('ownership', () => {
  test('takes every free shard at once, each with an epoch of its own', async () => {
    await bench.ownership.start();
    expect([...bench.ownership.shards().keys()].sort((a, b) => a - b)).toEqual([
      ...Array(SHARDS).keys(),
    ]);
    expect(bench.taken).toHaveLength(SHARDS);
    expect(bench.ownership.isCertain()).toBe(true);
    const rows = await bench.database.run(
      (sql) => sql<{ shard: number; epoch: string; dispatcher: number }[]>`
        select shard, epoch, dispatcher from errand.ownership where pool = ${POOL}`,
    );
    for (const { shard, epoch, dispatcher } of rows) {
      expect(bench.ownership.shards().get(shard)).toMatchObject({ epoch });
      expect(dispatcher).toBe(bench.ownership.dispatcher());
    }
  });

  test("takes another's shards only when its heartbeat stood still for 8/10 of takeoverMs", async () => {
    const other = await registerOther();
    await bench.ownership.start();
    expect(bench.ownership.shards().size).toBe(0);
    await passInBeats(DEAD_MS - 1);
    expect(bench.ownership.shards().size).toBe(0);
    expect(await isRegistered(other)).toBe(true);
    bench.nowMs += 1;
    await until(() => bench.ownership.shards().size === SHARDS);
    expect(await isRegistered(other)).toBe(false);
  });

  test('never takes from a dispatcher that beats', async () => {
    const other = await registerOther();
    await bench.ownership.start();
    await passInBeats(5 * TAKEOVER_MS, () => beatOf(other));
    expect(bench.ownership.shards().size).toBe(0);
    expect(await isRegistered(other)).toBe(true);
  });

  test('takes what another leaves at its next beat', async () => {
    const other = await registerOther();
    await bench.ownership.start();
    await bench.database.run((sql) => leave(sql, other));
    await until(() => bench.ownership.shards().size === SHARDS);
    expect(bench.nowMs).toBe(1_000_000);
  });

  test('takes the shards of a dispatcher whose row is gone', async () => {
    const other = await registerOther();
    await bench.database.run((sql) => sql`delete from errand.dispatcher where id = ${other}`);
    await bench.ownership.start();
    expect(bench.ownership.shards().size).toBe(SHARDS);
  });

  test('isSole takes everything at once: what is registered was left behind', async () => {
    const other = await registerOther();
    const sole = create({ isSole: true });
    await sole.start();
    expect(sole.shards().size).toBe(SHARDS);
    expect(await isRegistered(other)).toBe(false);
    await sole.leave();
  });

  test('after an outage of the observer nobody is dead at once', async () => {
    const proxy = await startTcpProxy(bench.schema.url);
    await bench.watched.close();
    bench.watched = openWatchedDatabase(proxy.url, 200);
    bench.ownership = create({ database: bench.watched });
    const other = await registerOther();
    await bench.ownership.start();
    await passInBeats(TAKEOVER_MS / 2);
    proxy.cut();
    await nextBeat();
    bench.nowMs += 10 * TAKEOVER_MS;
    proxy.mend();
    await until(() => bench.ownership.isCertain(), { what: 'a beat after the outage' });
    await passInBeats(DEAD_MS - 1);
    expect(await isRegistered(other)).toBe(true);
    bench.nowMs += 1;
    await until(() => bench.ownership.shards().size === SHARDS);
    cleanups.push(() => proxy.close());
  });

  test('a late answer does not count as time in which the other stood still', async () => {
    const other = await registerOther();
    await bench.ownership.start();
    await passInBeats(TAKEOVER_MS * 0.7);
    const releaseBeat = bench.watched.holdAnswers();
    const from = bench.watched.begun();
    await until(() => bench.watched.answered() > from, { what: 'a beat with a late answer' });
    bench.nowMs += TAKEOVER_MS * 0.2;
    const releaseNext = bench.watched.holdAnswers();
    releaseBeat();
    await until(() => bench.watched.answered() > from + 1, { what: 'what follows from the beat' });
    expect(await isRegistered(other)).toBe(true);
    releaseNext();
  });

  test('certainty ends half of takeoverMs after the last beat was sent, before anyone takes over', async () => {
    await bench.ownership.start();
    await nextBeat();
    const release = bench.watched.holdAnswers();
    const from = bench.watched.begun();
    await until(() => bench.watched.begun() > from);
    bench.nowMs += CERTAIN_MS - 1;
    expect(bench.ownership.isCertain()).toBe(true);
    bench.nowMs += 1;
    expect(bench.ownership.isCertain()).toBe(false);
    release();
  });

  test('a beat that is answered late makes certain from when it was sent, not from its answer', async () => {
    await bench.ownership.start();
    await nextBeat();
    const release = bench.watched.holdAnswers();
    const from = bench.watched.begun();
    await until(() => bench.watched.begun() > from);
    const sentMs = bench.nowMs;
    bench.nowMs += CERTAIN_MS * 0.8;
    const ended = bench.watched.ended();
    release();
    await until(() => bench.watched.ended() > ended);
    expect(bench.ownership.isCertain()).toBe(true);
    // Nothing later than this very beat was sent: the clock is ahead of the next one's timer.
    bench.nowMs = sentMs + CERTAIN_MS;
    expect(bench.ownership.isCertain()).toBe(false);
  });

  test('struck by another, it begins anew with another number and takes what is free', async () => {
    await bench.ownership.start();
    const first = bench.ownership.dispatcher();
    await bench.database.run((sql) => sql`delete from errand.dispatcher where id = ${first}`);
    await until(() => bench.ownership.dispatcher() !== first);
    await until(() => bench.ownership.shards().size === SHARDS);
    expect(await isRegistered(bench.ownership.dispatcher())).toBe(true);
  });

  test('struck while another took its shards, it owns nothing', async () => {
    await bench.ownership.start();
    const first = bench.ownership.dispatcher();
    await bench.database.run((sql) => sql`delete from errand.dispatcher where id = ${first}`);
    const other = await bench.database.run((sql) =>
      registerDispatcher(sql, { pool: POOL, host: 'other', pid: 2, takeoverMs: TAKEOVER_MS }),
    );
    await bench.database.run((sql) =>
      takeShards(sql, { pool: POOL, dispatcher: other, dead: [first], limit: SHARDS }),
    );
    await until(() => bench.ownership.dispatcher() !== first);
    await nextBeat();
    expect(bench.ownership.shards().size === 0 || !(await isRegistered(other))).toBe(true);
  });

  test('renew() raises the epoch of a shard of ours, and lets go of one that is not', async () => {
    await bench.ownership.start();
    const before = BigInt(bench.ownership.shards().get(7)!.epoch);
    await bench.ownership.renew(7);
    expect(bench.ownership.shards().get(7)).toMatchObject({ epoch: String(before + 1n) });
    await bench.database.run(
      (sql) => sql`update errand.ownership set dispatcher = -1 where shard = 8`,
    );
    await bench.ownership.renew(8);
    expect(bench.ownership.shards().has(8)).toBe(false);
  });

  test('leave() frees every shard and strikes its row; from then on nothing is certain', async () => {
    await bench.ownership.start();
    await bench.ownership.leave();
    expect(bench.ownership.isCertain()).toBe(false);
    expect(bench.ownership.shards().size).toBe(0);
    expect(await isRegistered(bench.ownership.dispatcher())).toBe(false);
    const [row] = await bench.database.run(
      (sql) => sql`select count(dispatcher)::integer as owned from errand.ownership`,
    );
    expect(row).toEqual({ owned: 0 });
  });

  test('start() waits for a database that is away', async () => {
    const proxy = await startTcpProxy(bench.schema.url);
    cleanups.push(() => proxy.close());
    proxy.cut();
    await bench.watched.close();
    bench.watched = openWatchedDatabase(proxy.url, 200);
    bench.ownership = create({ database: bench.watched });
    const started = bench.ownership.start();
    await until(() => bench.watched.ended() >= 1);
    proxy.mend();
    await started;
    expect(await isRegistered(bench.ownership.dispatcher())).toBe(true);
  });

  test('goes on beating after an error that is not about the database being away', async () => {
    await bench.ownership.start();
    const rename = (from: string, to: string) =>
      bench.database.run((sql) => sql.unsafe(`alter table errand.${from} rename to ${to}`));
    await rename('dispatcher', 'renamed');
    const from = bench.watched.begun();
    await until(() => bench.watched.ended() >= from + 3, { what: 'beats that fail' });
    await rename('renamed', 'dispatcher');
    bench.nowMs += TAKEOVER_MS;
    expect(bench.ownership.isCertain()).toBe(false);
    await until(() => bench.ownership.isCertain());
  });
});
