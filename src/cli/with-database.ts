import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { type DatabaseConfig, readDatabaseConfig } from '../config.ts';
import { ErrandError } from '../errors.ts';
import { connect, type Sql } from '../store/database.ts';

/**
 * Runs `work` on the database of DATABASE_URL; without that, on the embedded one of ERRAND_DATA_DIR,
 * be `errand dev` running on it or not.
 */
export async function withDatabase<Result>(work: (sql: Sql) => Promise<Result>): Promise<Result> {
  const database = await findDatabase(readDatabaseConfig(process.env));
  try {
    const sql = connect({ url: database.url, connections: 1, name: 'errand command' });
    return await work(sql).finally(() => sql.end({ timeout: 2 }));
  } finally {
    await database.stop();
  }
}

export interface FoundDatabase {
  url: string;
  /** Ends what was started for this command alone. */
  stop(): Promise<void>;
}

/** The database of DATABASE_URL, else the embedded one, started where it does not run. */
export async function findDatabase({
  databaseUrl,
  dataDir,
}: DatabaseConfig): Promise<FoundDatabase> {
  if (databaseUrl !== null) return { url: databaseUrl, stop: async () => {} };
  const { startEmbeddedPostgres } = await import('../embedded/embedded-postgres.ts');
  try {
    return await startEmbeddedPostgres({ dataDir });
  } catch (error) {
    if (!(error instanceof ErrandError) || error.code !== 'data-dir-in-use') throw error;
    return { url: await runningDatabaseUrl(dataDir), stop: async () => {} };
  }
}

/** The database that a running `errand dev` notes down in its data dir. */
async function runningDatabaseUrl(dataDir: string): Promise<string> {
  const { NAME } = await import('../embedded/cluster.ts');
  const [password, port] = await Promise.all(
    ['postgres-password', 'postgres-port'].map((file) => readFile(join(dataDir, file), 'utf8')),
  );
  return `postgres://${NAME}:${password!.trim()}@127.0.0.1:${port!.trim()}/${NAME}`;
}
