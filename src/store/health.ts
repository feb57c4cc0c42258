import type { Database } from './database.ts';

/** True when the database answers a trivial query within a second. */
export async function isReachable(database: Database): Promise<boolean> {
  try {
    await database.run((sql) => sql`select 1`, { timeoutMs: 1_000 });
    return true;
  } catch {
    return false;
  }
}
