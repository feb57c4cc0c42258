import { describe, expect, it } from 'vitest';
import type { BusinessCalendar } from '../../src/protocol/resources.ts';
import { deleteCalendar, putCalendar } from '../../src/store/calendar.ts';
import { findQueue, loadQueuesByIds } from '../../src/store/queue.ts';
import { isUnknownCalendar, patchQueue, putQueue } from '../../src/store/queue-change.ts';
import { openTransaction } from './lease-fixture.ts';
import { untilSomeoneWaits, useDatabase } from './task-fixture.ts';

const database = useDatabase();
const project = 'default';
const WORK: BusinessCalendar = { timeZone: 'UTC', holidays: [], weekend: ['sat', 'sun'] };

const saveCalendar = (name: string, settings = WORK) =>
  putCalendar(database.sql, { project, name, settings });

async function makeQueue(name: string, businessDaysOnly: string | null) {
  return (await putQueue(database.sql, { project, name, settings: { businessDaysOnly } })).queue;
}

describe('putCalendar()', () => {
  it('raises the version of the queues that name it, and of no other', async () => {
    await saveCalendar('told');
    const naming = await makeQueue('naming', 'told');
    const other = await makeQueue('other', null);
    await saveCalendar('told', { ...WORK, holidays: ['2026-12-25'] });
    const [found, untouched] = [
      await findQueue(database.sql, project, 'naming'),
      await findQueue(database.sql, project, 'other'),
    ];
    expect(found).toMatchObject({
      version: naming.version + 1,
      calendar: { name: 'told', ...WORK, holidays: ['2026-12-25'] },
    });
    expect(untouched).toEqual(other);
  });

  it('says whether it created it', async () => {
    expect((await saveCalendar('new')).isCreated).toBe(true);
    expect((await saveCalendar('new')).isCreated).toBe(false);
  });
});

describe('A queue record', () => {
  it('carries its calendar, however it is loaded', async () => {
    await saveCalendar('carried');
    const made = await makeQueue('carrying', 'carried');
    expect(made.calendar).toEqual({ name: 'carried', ...WORK });
    const again = await makeQueue('carrying', 'carried');
    const patch = { project, name: 'carrying', settings: { weight: 2 } };
    const patched = await patchQueue(database.sql, patch);
    const [byId] = await loadQueuesByIds(database.sql, [made.id]);
    for (const queue of [again, patched, byId]) {
      expect(queue?.calendar).toEqual(made.calendar);
    }
  });
});

describe('deleteCalendar()', () => {
  it('refuses while a queue names it, also one that is only being committed', async () => {
    await saveCalendar('raced');
    const other = await openTransaction(database.sql);
    await putQueue(other.sql, { project, name: 'late', settings: { businessDaysOnly: 'raced' } });
    const deletion = deleteCalendar(database.sql, project, 'raced');
    await untilSomeoneWaits(database.sql);
    await other.commit();
    expect(await deletion).toBe('in-use');
    await makeQueue('late', null);
    expect(await deleteCalendar(database.sql, project, 'raced')).toBe('deleted');
    expect(await deleteCalendar(database.sql, project, 'raced')).toBe('not-found');
  });
});

describe('isUnknownCalendar()', () => {
  it('knows the error of a queue that names what is not there', async () => {
    const unknown = await makeQueue('lost', 'nowhere').catch((error) => error);
    expect(isUnknownCalendar(unknown)).toBe(true);
    await makeQueue('lost', null);
    const settings = { businessDaysOnly: 'nowhere' };
    const patched = patchQueue(database.sql, { project, name: 'lost', settings });
    expect(isUnknownCalendar(await patched.catch((error) => error))).toBe(true);
    const input = { project: 'no-project', name: 'lost', settings: {} };
    const homeless = await putQueue(database.sql, input).catch((error) => error);
    expect(homeless).toBeInstanceOf(Error);
    expect(isUnknownCalendar(homeless)).toBe(false);
  });
});
