import type { Sql } from '../../src/store/database.ts';
import { until } from './until.ts';

/** Statements that make a task's id wait there, with their snapshot taken, until `end`. */
export interface StoppedIds {
  /** Resolves when so many wait. */
  reached(count?: number): Promise<void>;
  end(): Promise<void>;
}

/** Works on a whole database, so it wants one of the test's own. */
export async function stopAtIds(sql: Sql): Promise<StoppedIds> {
  await sql.unsafe(`
    alter function errand.task_id rename to made_id;
    create function errand.task_id(at timestamptz, shard integer, random uuid) returns uuid
    language plpgsql as $$
    begin
      perform pg_advisory_xact_lock_shared(42);
      return errand.made_id(at, shard, random);
    end $$`);
  const stopper = await sql.reserve();
  await stopper`begin`;
  await stopper`select pg_advisory_xact_lock(42)`;
  return {
    async reached(count = 1) {
      const areThere = async () => {
        const [row] = await sql<{ waiting: number }[]>`
          select count(*)::integer as waiting from pg_locks
          where locktype = 'advisory' and not granted
            and database = (select oid from pg_database where datname = current_database())`;
        return row!.waiting >= count;
      };
      await until(areThere, { what: 'a statement that waits' });
    },
    async end() {
      await stopper`commit`;
      stopper.release();
    },
  };
}
