import postgres, { type Sql } from 'postgres';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { createTestDatabase, type TestDatabase } from '../support/database.ts';
import { runErrand } from './errand-process.ts';

let database: TestDatabase;
let sql: Sql;

beforeAll(async () => {
  database = await createTestDatabase();
  sql = postgres(database.url, { max: 1, onnotice: () => {} });
});
afterAll(async () => {
  await sql.end();
  await database.drop();
});

const run = () => runErrand(['dispatchers'], { DATABASE_URL: database.url });

describe('errand dispatchers', () => {
  it('lists who owns what, who fell silent, and the pools that nobody serves', async () => {
    await sql`insert into errand.dispatcher (pool, host, pid) values ('default', 'box-1', 42)`;
    await sql`
      insert into errand.dispatcher (pool, host, pid, seen_at)
      values ('default', 'box-2', 43, now() - interval '1 hour')`;
    await sql`update errand.ownership set dispatcher = 1 where shard in (0, 1, 2, 7)`;
    await sql`insert into errand.queue (project, name, shard, pool) values ('default', 'r', 1, 'reports')`;
    const { code, stdout } = await run();
    const lines = stdout.split('\n');
    expect(code).toBe(0);
    expect(lines[0]).toMatch(/^id +pool +host +pid +since +last seen +shards$/);
    expect(lines[1]).toMatch(/^1 +default +box-1 +42 +\S+Z +\S+Z +0-2 7$/);
    expect(lines[2]).toMatch(/^2 +default +box-2 +43 +\S+Z +\S+Z \(over 15 s ago\) +-$/);
    expect(lines[3]).toBe(
      'pool reports is not served: 1 queue is set to it and no live dispatcher is; run `errand dispatch --pool reports`',
    );
  });

  it('lists none, and says that the default pool is not served', async () => {
    await sql`delete from errand.dispatcher`;
    const { code, stdout } = await run();
    expect(code).toBe(0);
    expect(stdout).toMatch(/^id .*\npool default is not served: /);
  });
});
