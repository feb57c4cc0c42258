/**
 * One PostgreSQL for the whole run, without fsync, in a temporary directory. Its database
 * `errand_template` holds the migrated schema, and each test file clones it (`database.ts`).
 */
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import postgres from 'postgres';
import type { TestProject } from 'vitest/node';
import {
  type EmbeddedPostgres,
  startEmbeddedPostgres,
} from '../../src/embedded/embedded-postgres.ts';
import { migrate } from '../../src/store/migrate.ts';
import { createPartitions } from '../../src/store/partitions.ts';

declare module 'vitest' {
  interface ProvidedContext {
    /** The test server's own database, where others are created and dropped from. */
    postgresUrl: string;
  }
}

const FAST = { fsync: 'off', synchronous_commit: 'off', full_page_writes: 'off' };

export default async function setup(project: TestProject): Promise<() => Promise<void>> {
  const dataDir = await mkdtemp(join(tmpdir(), 'errand-test-'));
  const settings = { ...FAST, max_connections: '200', shared_buffers: '128MB' };
  let server: EmbeddedPostgres | undefined;
  const teardown = async () => {
    await server?.stop();
    await rm(dataDir, { recursive: true, force: true });
  };
  try {
    server = await startEmbeddedPostgres({ dataDir, settings });
    await createTemplate(server.url);
    project.provide('postgresUrl', server.url);
    return teardown;
  } catch (error) {
    await teardown();
    throw error;
  }
}

async function createTemplate(url: string): Promise<void> {
  const admin = postgres(url, { max: 1 });
  await admin.unsafe('create database errand_template');
  await admin.end();
  const sql = postgres(url.replace(/[^/]+$/, 'errand_template'), { max: 1, onnotice: () => {} });
  await migrate(sql);
  await createPartitions(sql);
  await sql.end();
}
