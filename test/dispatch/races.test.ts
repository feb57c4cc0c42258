import type { ServerResponse } from 'node:http';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { findLeases } from '../../src/store/claim.ts';
import { connect } from '../../src/store/database.ts';
import { countForeignLeases, takeShards } from '../../src/store/ownership.ts';
import { patchQueue } from '../../src/store/queue-change.ts';
import { settleTasks } from '../../src/store/settle.ts';
import { verifyRooms } from '../../src/store/verify.ts';
import {
  claim,
  claimNew,
  createOwner,
  createQueue,
  fill,
  type Owner,
  openTransaction,
  queueClaim,
  register,
  retryIn,
  roomsOf,
  settlementOf,
  type TestQueue,
  times,
} from '../store/lease-fixture.ts';
import { SUCCEED, useDatabase } from '../store/task-fixture.ts';
import { type Bench, startBench } from '../support/dispatcher.ts';
import { startTarget, type Target } from '../support/target.ts';
import { until } from '../support/until.ts';

const database = useDatabase(6);

async function queueOf({ pool }: Owner): Promise<TestQueue> {
  const queue = await createQueue(database.sql);
  await database.sql`update errand.queue set pool = ${pool} where id = ${queue.queue}`;
  return queue;
}

/** Another dispatcher takes the owner's shard, as after its death; waits for claims under way. */
async function takeOver(owner: Owner): Promise<Owner> {
  const { sql } = database;
  const { pool } = owner;
  const dispatcher = await register(sql, pool);
  const taken = await takeShards(sql, { pool, dispatcher, dead: [owner.dispatcher], limit: 64 });
  return { pool, dispatcher, epochs: new Map(taken.map(({ shard, epoch }) => [shard, epoch])) };
}

function foreignLeases({ epochs }: Owner): Promise<Map<number, number>> {
  return countForeignLeases(
    database.sql,
    [...epochs].map(([shard, epoch]) => ({ shard, epoch })),
  );
}

/** Waits until a statement waits for a lock: then the two are in the middle of their race. */
async function untilOneWaits(sql = database.sql): Promise<void> {
  const isWaiting = async () => {
    const [row] = await sql`select from pg_stat_activity
      where wait_event_type = 'Lock' and datname = current_database()`;
    return row !== undefined;
  };
  await until(isWaiting, { what: 'a statement that waits for a lock' });
}

describe('take-over during settle', () => {
  const LOST = { outcome: 'lost', status: null } as const;

  test('a settlement that comes first stands, and the new owner finds nothing to call lost', async () => {
    const { sql } = database;
    const old = await createOwner(sql);
    const queue = await queueOf(old);
    const task = await claimNew(sql, old, queue);
    const settling = await openTransaction(sql);
    await settleTasks(settling.sql, 0, [settlementOf(task, SUCCEED)]);

    const fresh = await takeOver(old);
    expect(await foreignLeases(fresh)).toEqual(new Map([[queue.queue, 1]]));
    const lost = settleTasks(sql, 0, [settlementOf(task, retryIn(0), LOST)]);
    await untilOneWaits();
    await settling.commit();

    expect((await lost).leaseIds).toEqual(new Set());
    expect(await roomsOf(sql, task.taskId)).toEqual(['succeeded']);
    expect(await foreignLeases(fresh)).toEqual(new Map());
    expect((await verifyRooms(sql)).problems).toEqual([]);
  });

  test('a settlement that comes after the attempt was called lost changes nothing', async () => {
    const { sql } = database;
    const old = await createOwner(sql);
    const queue = await queueOf(old);
    const task = await claimNew(sql, old, queue);
    await takeOver(old);
    const losing = await openTransaction(sql);
    await settleTasks(losing.sql, 0, [settlementOf(task, retryIn(3600), LOST)]);
    const late = settleTasks(sql, 0, [settlementOf(task, SUCCEED)]);
    await untilOneWaits();
    await losing.commit();

    expect((await late).leaseIds).toEqual(new Set());
    expect(await roomsOf(sql, task.taskId)).toEqual(['scheduled']);
    expect((await verifyRooms(sql)).problems).toEqual([]);
  });
});

describe('two dispatchers claiming at the epoch change', () => {
  test('a claim that comes first is waited for, and its leases are seen by the new owner', async () => {
    const { sql } = database;
    const old = await createOwner(sql);
    const queue = await queueOf(old);
    const ids = await fill(sql, queue, ...times(5));
    const claiming = await openTransaction(sql);
    const first = await claim(claiming.sql, old, [queueClaim(queue, { limit: 2 })]);
    const takingOver = takeOver(old);
    await untilOneWaits();
    await claiming.commit();

    const fresh = await takingOver;
    expect(await foreignLeases(fresh)).toEqual(new Map([[queue.queue, 2]]));
    const [ofOld, ofFresh] = await Promise.all([
      claim(sql, old, [queueClaim(queue)]),
      claim(sql, fresh, [queueClaim(queue)]),
    ]);
    expect(ofOld).toEqual([]);
    expect([...first, ...ofFresh].map(({ taskId }) => taskId)).toEqual(ids);
  });

  test('a claim that comes while the epoch changes yields nothing', async () => {
    const { sql } = database;
    const old = await createOwner(sql);
    const queue = await queueOf(old);
    const ids = await fill(sql, queue, ...times(5));
    const dispatcher = await register(sql, old.pool);
    const taking = await openTransaction(sql);
    const input = { pool: old.pool, dispatcher, dead: [old.dispatcher], limit: 64 };
    const taken = await takeShards(taking.sql, input);
    const late = claim(sql, old, [queueClaim(queue)]);
    await untilOneWaits();
    await taking.commit();

    expect(await late).toEqual([]);
    const epochs = new Map(taken.map(({ shard, epoch }) => [shard, epoch]));
    const fresh = await claim(sql, { pool: old.pool, dispatcher, epochs }, [queueClaim(queue)]);
    expect(fresh.map(({ taskId }) => taskId)).toEqual(ids);
  });
});

describe('limit change during claim', () => {
  test('a claim with the settings of before the change yields nothing', async () => {
    const { sql } = database;
    const owner = await createOwner(sql);
    const queue = await queueOf(owner);
    await fill(sql, queue, ...times(5));
    await sql`update errand.queue set version = version + 1 where id = ${queue.queue}`;
    expect(await claim(sql, owner, [queueClaim(queue)])).toEqual([]);
    expect(await claim(sql, owner, [queueClaim({ ...queue, version: 2 })])).toHaveLength(5);
  });
});

describe('with a dispatcher at work', () => {
  let bench: Bench;
  let target: Target;
  let open: ServerResponse[];

  beforeEach(async () => {
    open = [];
    target = await startTarget((_, response) => void open.push(response));
    bench = await startBench();
  });

  afterEach(async () => {
    await bench.close();
    await target.close();
  });

  const task = () => ({ url: target.url, retry: { minBackoffSeconds: 0, maxBackoffSeconds: 0 } });

  const answerAll = () => {
    for (const response of open.splice(0)) response.end();
  };

  async function finished(count: number): Promise<void> {
    const areAll = async () => {
      const [row] = await bench.database.run(
        (sql) => sql`select count(*)::integer as n from errand.finished where state = 'succeeded'`,
      );
      return row!.n === count;
    };
    await until(areAll, { what: `${count} finished tasks` });
    expect((await bench.database.run(verifyRooms)).problems).toEqual([]);
  }

  async function outcomes(taskId: string): Promise<string[]> {
    const rows = await bench.database.run(
      (sql) => sql<{ outcome: string }[]>`
        select outcome from errand.attempt where task = ${taskId}::text::uuid order by attempt`,
    );
    return rows.map(({ outcome }) => outcome);
  }

  /** A task whose dispatcher died in the middle of its call. */
  async function orphan(): Promise<string> {
    const [id] = await bench.enqueue({ ...task(), delaySeconds: 3600 });
    await bench.database.run(
      (sql) => sql`
        with moved as (delete from errand.scheduled returning *)
        insert into errand.lease (shard, task, lease_id, dispatcher, claim, queue, rank, seq, step,
          attempt, due_at, started_at, expires_at)
        select shard, task, gen_random_uuid(), -1, 1, queue, rank, 1, step, 1, due_at, now(), now()
        from moved`,
    );
    return id!;
  }

  test('expiry during POST: an owner waits for its own call, while it settles what others lost', async () => {
    const [id] = await bench.enqueue(task());
    await target.arrived(1);
    await bench.database.run(
      (sql) => sql`update errand.lease set expires_at = now() - interval '1 minute'`,
    );
    const other = await orphan();
    await target.arrived(2);
    answerAll();
    await finished(2);
    expect(await outcomes(other)).toEqual(['lost', 'responded']);
    expect(await outcomes(id!)).toEqual(['responded']);
    expect(target.arrivals).toHaveLength(2);
  });

  test('expiry during POST: an answer to an attempt that was called lost changes nothing', async () => {
    const [id] = await bench.enqueue(task());
    await target.arrived(1);
    const lost = await bench.database.run(async (sql) => {
      await sql`update errand.lease set expires_at = now() - interval '1 minute'`;
      const leases = await findLeases(sql, { shards: [0], limit: 10, of: 'lost' });
      const fields = { outcome: 'lost', status: null } as const;
      return settleTasks(
        sql,
        0,
        leases.map((lease) => settlementOf(lease, retryIn(0), fields)),
      );
    });
    bench.dispatcher.wake(lost.wakeUps);
    await target.arrived(2);
    const [late, answerInTime] = open.splice(0);
    late!.writeHead(503).end();
    await until(() => target.inFlight.now === 1);
    answerInTime!.end();
    await finished(1);
    expect(await outcomes(id!)).toEqual(['lost', 'responded']);
    expect(target.arrivals.map(({ headers }) => headers['errand-attempt'])).toEqual(['1', '2']);
  });

  test('limit change during claim: one that waited takes nothing by the old limit', async () => {
    await limitTo(4);
    await bench.enqueue(task());
    await target.arrived(1);
    answerAll();
    await finished(1);

    const blocker = connect({ url: bench.databaseUrl, connections: 1, name: 'blocker' });
    await blocker`begin`;
    await blocker`select from errand.ownership where shard = 0 for update`;
    await bench.enqueue(...times(10, task()));
    await untilOneWaits(blocker);
    await limitTo(2);
    await blocker`commit`;
    await blocker.end();
    await target.arrived(1 + 2);
    await until(async () => (await leases()) === target.inFlight.now);
    expect(target.inFlight.most).toBe(2);

    target.answer = (_, response) => void setTimeout(() => response.end(), 5);
    answerAll();
    await finished(11);
    expect(target.inFlight.most).toBe(2);
  });

  async function leases(): Promise<number> {
    const [row] = await bench.database.run(
      (sql) => sql`select count(*)::integer as n from errand.lease`,
    );
    return row!.n;
  }

  function limitTo(maxConcurrentDispatches: number) {
    const settings = { rateLimits: { maxConcurrentDispatches } };
    return bench.database.run((sql) =>
      patchQueue(sql, { project: 'default', name: 'default', settings }),
    );
  }
});
