import postgres, { type Sql } from 'postgres';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { verifyRooms } from '../../src/store/verify.ts';
import { spawnErrand } from '../cli/errand-process.ts';
import { createTestDatabase, type TestDatabase } from '../support/database.ts';
import { startTarget, type Target } from '../support/target.ts';
import { until } from '../support/until.ts';
import { ADMIN_KEY, killHard, type Service, startService } from './service.ts';

/** Tables on the hot path, which a release may add columns to. */
const TABLES = ['task', 'ready', 'scheduled', 'lease', 'finished', 'attempt', 'queue', 'api_key'];

let database: TestDatabase;
let sql: Sql;
let target: Target;
let service: Service;
let expected = 0;

beforeAll(async () => {
  database = await createTestDatabase();
  sql = postgres(database.url, { max: 1, onnotice: () => {} });
  target = await startTarget();
  service = await startService(database.url);
});
afterAll(async () => {
  await killHard(service);
  await target.close();
  await sql.end();
  await database.drop();
});

describe('a process of version N on a database that N + 1 expands', () => {
  test('goes on through the migration, and none of N starts after it', async () => {
    await enqueueAndWait(20);
    const underWay = enqueueAndWait(300);
    for (const table of TABLES) {
      await sql.unsafe(`alter table errand.${table} add column since_next integer default 7`);
    }
    await sql`
      insert into errand.migration (number, name)
      select max(number) + 1, '9999_next.sql' from errand.migration
    `;
    await underWay;
    await enqueueAndWait(20);
    expect((await verifyRooms(sql)).problems).toEqual([]);

    const late = spawnErrand(['serve'], {
      DATABASE_URL: database.url,
      ERRAND_ADMIN_KEY: ADMIN_KEY,
      ERRAND_PORT: '0',
    });
    expect(await late.ended).toBe(1);
    expect(late.stderr()).toMatch(/run a newer errand/);
    expect(service.process.stdout()).not.toMatch(/"level":"(warn|error)"/);
  });
});

/** Alone and in batches, named and not, some with a retry: the statements of a day. */
async function enqueueAndWait(count: number): Promise<void> {
  const { client } = service;
  target.answer = ({ path, headers }, response) => {
    response.statusCode = path === '/retry' && headers['errand-attempt'] === '1' ? 500 : 200;
    response.end();
  };
  const retry = { minBackoffSeconds: 0, maxBackoffSeconds: 0 };
  const tasks = Array.from({ length: count }, (_, n) => {
    // So few that no circuit opens.
    return { url: `${target.url}/${n % 20 === 0 ? 'retry' : 'ok'}`, payload: 'x', retry };
  });
  await client.enqueue('default', { ...tasks[1]!, name: `n-${count}-${expected}` });
  await client.enqueueBatch('default', tasks);
  expected += count + 1;
  await until(async () => {
    const [row] = await sql`
      select count(*)::int as tasks, coalesce(max(attempt), 0) as attempts
      from errand.finished where state = 'succeeded'
    `;
    return row!.tasks === expected && row!.attempts === 2;
  });
}
