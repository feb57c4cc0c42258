import { afterAll, describe, expect, test } from 'vitest';
import type { Sql } from '../../src/store/database.ts';
import { parkTasks } from '../../src/store/park.ts';
import { patchQueue, setQueuePaused } from '../../src/store/queue-change.ts';
import { deleteQueue, purgeQueue } from '../../src/store/queue-removal.ts';
import { verifyRooms } from '../../src/store/verify.ts';
import {
  claim,
  claimParked,
  createOwner,
  createQueue,
  fill,
  type Owner,
  openTransaction,
  queueClaim,
  type TestQueue,
  times,
} from './lease-fixture.ts';
import { untilSomeoneWaits, useDatabase } from './task-fixture.ts';

const database = useDatabase(6);
const project = 'default';

afterAll(async () => {
  expect((await verifyRooms(database.sql)).problems).toEqual([]);
});

async function queueOf({ pool }: Owner): Promise<TestQueue> {
  const queue = await createQueue(database.sql);
  await database.sql`update errand.queue set pool = ${pool} where id = ${queue.queue}`;
  return queue;
}

async function nameOf({ queue }: TestQueue): Promise<string> {
  const [row] = await database.sql`select name from errand.queue where id = ${queue}`;
  return row!.name;
}

describe('limit change during claim', () => {
  const CHANGES: [string, (sql: Sql, name: string) => Promise<unknown>][] = [
    ['lower limit', (sql, name) => patchQueue(sql, { project, name, settings: { weight: 2 } })],
    ['pause', (sql, name) => setQueuePaused(sql, { project, name, paused: true })],
    ['purge', (sql, name) => purgeQueue(sql, project, name)],
    ['deletion', (sql, name) => deleteQueue(sql, { project, name, force: true })],
    ['other pool', (sql, name) => patchQueue(sql, { project, name, settings: { pool: 'other' } })],
  ];

  test.each(CHANGES)(
    'a claim that waited for its ownership yields nothing after a %s that came meanwhile',
    async (_, change) => {
      const { sql } = database;
      const owner = await createOwner(sql);
      const queue = await queueOf(owner);
      await fill(sql, queue, ...times(5));
      const blocking = await openTransaction(sql);
      await blocking.sql`select from errand.ownership where pool = ${owner.pool} for update`;
      const waiting = claim(sql, owner, [queueClaim(queue)]);
      await untilSomeoneWaits(sql);
      await change(sql, await nameOf(queue));
      await blocking.commit();
      expect(await waiting).toEqual([]);
    },
  );

  test.each(CHANGES)('a %s waits for the claim under way', async (_, change) => {
    const { sql } = database;
    const owner = await createOwner(sql);
    const queue = await queueOf(owner);
    await fill(sql, queue, ...times(5));
    const claiming = await openTransaction(sql);
    expect(await claim(claiming.sql, owner, [queueClaim(queue)])).toHaveLength(5);
    let isChanged = false;
    const changing = change(sql, await nameOf(queue)).then(() => {
      isChanged = true;
    });
    await untilSomeoneWaits(sql);
    expect(isChanged).toBe(false);
    await claiming.commit();
    await changing;
  });

  test('a claim never waits for a change: a queue that is being changed yields nothing', async () => {
    const { sql } = database;
    const owner = await createOwner(sql);
    const [changed, other] = [await queueOf(owner), await queueOf(owner)];
    await fill(sql, changed, ...times(5));
    await fill(sql, other, ...times(5));
    const changing = await openTransaction(sql);
    const settings = { weight: 2 };
    await patchQueue(changing.sql, { project, name: await nameOf(changed), settings });
    const taken = await claim(sql, owner, [queueClaim(changed), queueClaim(other)]);
    expect(new Set(taken.map(({ queue }) => queue))).toEqual(new Set([other.queue]));
    expect(taken).toHaveLength(5);
    await changing.commit();
  });

  test('what is parked is claimed by the same rules', async () => {
    const { sql } = database;
    const owner = await createOwner(sql);
    const queue = await queueOf(owner);
    await fill(sql, queue, ...times(3, { flowKey: 'a' }));
    const taken = await claim(sql, owner, [queueClaim(queue)]);
    await parkTasks(
      sql,
      0,
      taken.map((task) => ({ ...task, isHolder: false })),
    );
    const blocking = await openTransaction(sql);
    await blocking.sql`select from errand.ownership where pool = ${owner.pool} for update`;
    const waiting = claimParked(sql, owner, queue, { a: 3 });
    await untilSomeoneWaits(sql);
    const name = await nameOf(queue);
    await patchQueue(sql, { project, name, settings: { weight: 2 } });
    await blocking.commit();
    expect(await waiting).toEqual({ tasks: [], open: new Set() });
  });
});
