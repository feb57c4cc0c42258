import { describe, expect, it } from 'vitest';
import type { Sql } from '../../src/store/database.ts';
import { enqueueReservedTasks } from '../../src/store/enqueue-reserved.ts';
import { newTask } from '../support/new-task.ts';
import {
  claimant,
  createOwner,
  createQueue,
  fill,
  type TestQueue,
  times,
} from './lease-fixture.ts';
import { useDatabase } from './task-fixture.ts';

const ROWS = 20_000;
const BATCH = 24;

const database = useDatabase(1);

describe('promise 10: enqueueReservedTasks() reads by key', () => {
  it.each(['auto', 'force_generic_plan'])(
    'and not what lies in other queues or was claimed before, planned by %s',
    async (mode) => {
      const { sql } = database;
      const owner = await createOwner(sql);
      const [mine, other] = [await createQueue(sql), await createQueue(sql)];
      await sql`update errand.queue set pool = ${owner.pool} where id = ${mine.queue}`;
      // Planned while the table is small, and kept when it has grown.
      await sql.unsafe('vacuum (analyze, truncate) errand.ready');
      await sql.unsafe(`set plan_cache_mode = ${mode}; set enable_seqscan = off`);
      let seq = '0';
      const send = async () => {
        const items = times(BATCH).map(() => ({
          task: newTask({ queue: mine.queue }),
          grant: { ...claimant(owner), version: 1, afterSeq: seq, dispatchDeadlineSeconds: 600 },
        }));
        const results = await enqueueReservedTasks(sql, items);
        seq = results.at(-1)!.lease!.seq;
      };
      for (let time = 0; time < 8; time += 1) await send();
      await grow(sql, mine);
      await sql`delete from errand.ready where queue = ${mine.queue}`;
      await grow(sql, other);
      await send();

      const before = await entriesRead(sql);
      for (let time = 0; time < 5; time += 1) await send();
      expect((await entriesRead(sql)) - before).toBeLessThanOrEqual(5 * BATCH);
    },
  );
});

async function grow(sql: Sql, queue: TestQueue): Promise<void> {
  for (let rows = 0; rows < ROWS; rows += 2_000) await fill(sql, queue, ...times(2_000));
}

/** Entries of the indexes of `ready`, dead or alive, that scans have come upon so far. */
async function entriesRead(sql: Sql): Promise<number> {
  await sql`select pg_stat_force_next_flush()`;
  const [row] = await sql<{ read: number; scans: number }[]>`
    select sum(i.idx_tup_read)::integer as read, max(t.seq_scan)::integer as scans
    from pg_stat_user_indexes i join pg_stat_user_tables t using (relid)
    where i.schemaname = 'errand' and i.relname = 'ready'`;
  return row!.read;
}
