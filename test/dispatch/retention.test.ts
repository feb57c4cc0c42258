import { expect, test } from 'vitest';
import { createRetention } from '../../src/dispatch/retention.ts';
import { addTasks, daysOf, makePast } from '../store/days-fixture.ts';
import { createTestDatabase } from '../support/database.ts';
import { silentLog } from '../support/dispatcher.ts';
import { openWatchedDatabase } from '../support/watched-database.ts';

const WEEK_SECONDS = 7 * 86_400;
const LONG_GONE_SECONDS = -2 * 86_400;

test('endDays() drops what is over, thins what a survivor holds, and looks at its rows once in 24 hours', async () => {
  const schema = await createTestDatabase();
  const database = openWatchedDatabase(schema.url);
  let nowMs = 0;
  const retention = createRetention({ database, log: silentLog, monotonic: () => nowMs });
  const statementsOfARun = async () => {
    const before = database.begun();
    await retention.endDays();
    return database.begun() - before;
  };
  try {
    const [over, held] = await database.run(async (sql) => {
      const days = [await makePast(sql, -9), await makePast(sql, -5)] as const;
      await addTasks(sql, days[0], LONG_GONE_SECONDS);
      await addTasks(sql, days[1], LONG_GONE_SECONDS, WEEK_SECONDS);
      return days;
    });
    // The list, a look at each day, a drop and one batch.
    expect(await statementsOfARun()).toBe(5);
    const left = await database.run(async (sql) => ({
      days: await daysOf(sql, 'finished'),
      rows: await sql`select from ${sql(`errand.finished_${held}`)}`,
    }));
    expect(left.days).not.toContain(over);
    expect(left.rows).toHaveLength(1);
    expect(await statementsOfARun()).toBe(2);
    nowMs += 86_400_000;
    expect(await statementsOfARun()).toBe(3);
  } finally {
    await database.close();
    await schema.drop();
  }
});
