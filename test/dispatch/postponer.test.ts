import { afterAll, describe, expect, test } from 'vitest';
import { createPostponer } from '../../src/dispatch/postponer.ts';
import { type Database, openDatabase } from '../../src/store/database.ts';
import { verifyRooms } from '../../src/store/verify.ts';
import {
  claim,
  createOwner,
  createQueue,
  fill,
  queueClaim,
  roomsOf,
  times,
} from '../store/lease-fixture.ts';
import { useDatabase } from '../store/task-fixture.ts';

const database = useDatabase();
let statements = 0;

/** The file's own database, counted. */
const counted: Database = {
  async run(verb) {
    statements += 1;
    return verb(database.sql);
  },
  close: async () => {},
};

afterAll(async () => {
  expect((await verifyRooms(database.sql)).problems).toEqual([]);
});

async function claimMany(count: number) {
  const owner = await createOwner(database.sql);
  const queue = await createQueue(database.sql);
  await database.sql`update errand.queue set pool = ${owner.pool} where id = ${queue.queue}`;
  await fill(database.sql, queue, ...times(count));
  return claim(database.sql, owner, [queueClaim(queue)]);
}

describe('createPostponer()', () => {
  test('what comes while a statement is under way goes together in the next', async () => {
    const tasks = await claimMany(50);
    const postpone = createPostponer(counted);
    const before = statements;
    const puttingOff = tasks.map((task) => postpone({ ...task, delaySeconds: 60 }));
    const wakeUps = (await Promise.all(puttingOff)).flat();
    // Three may be in flight, but of one shard only one.
    expect(statements - before).toBe(2);
    expect(wakeUps).toHaveLength(50);
    for (const { taskId } of tasks) {
      expect(await roomsOf(database.sql, taskId)).toEqual(['scheduled']);
    }
  });

  test('one whose lease was lost wakes nobody', async () => {
    const [task, lost] = await claimMany(2);
    const postpone = createPostponer(counted);
    const leaseId = task!.leaseId;
    expect(await postpone({ ...lost!, leaseId, delaySeconds: 60 })).toEqual([]);
    expect(await postpone({ ...task!, delaySeconds: 60 })).toHaveLength(1);
    expect(await postpone({ ...lost!, delaySeconds: 60 })).toHaveLength(1);
  });

  test('rejects while the database is away', async () => {
    const [task] = await claimMany(1);
    const url = 'postgres://nobody@127.0.0.1:1/nowhere';
    const away = openDatabase({ url, connections: 1, name: 'away' });
    const putOff = createPostponer(away)({ ...task!, delaySeconds: 60 });
    await expect(putOff).rejects.toMatchObject({ code: 'database-unavailable' });
    await away.close();
    await createPostponer(counted)({ ...task!, delaySeconds: 60 });
  });
});
