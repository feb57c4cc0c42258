import { beforeAll, describe, expect, it } from 'vitest';
import { enqueueTasks } from '../../src/store/enqueue.ts';
import { cancelTask } from '../../src/store/task-cancel.ts';
import { listTasks, type TaskFilter } from '../../src/store/task-list.ts';
import { claimAll, enqueue, FAIL, newTask, SUCCEED, settle, useDatabase } from './task-fixture.ts';

const database = useDatabase();

/** Ids by what became of the task, newest first. */
const ids: Record<string, string[]> = {};

beforeAll(async () => {
  const { sql } = database;
  await sql`insert into errand.project (name) values ('other')`;
  await sql`insert into errand.queue (project, name, shard) values
    ('default', 'second', 0), ('default', 'third', 9), ('other', 'default', 0)`;
  const add = async (kind: string, count: number, overrides = {}) => {
    for (let i = 0; i < count; i += 1) {
      const taskId = await enqueue(sql, overrides);
      ids[kind] = [taskId, ...(ids[kind] ?? [])];
    }
  };
  await add('succeeded', 3);
  for (const task of await claimAll(sql)) await settle(sql, task, SUCCEED);
  await add('failed', 2, { owner: 'ann' });
  for (const task of await claimAll(sql)) await settle(sql, task, FAIL);
  await add('leased', 2);
  await claimAll(sql);
  await add('ready', 4, { owner: 'ann' });
  await add('scheduled', 2, { delaySeconds: 100 });
  await add('cancelled', 2);
  for (const taskId of ids.cancelled!) await cancelTask(sql, { project: 'default', taskId });
  await add('second', 3, { queue: 2 });
  await add('third', 2, { queue: 3, shard: 9, delaySeconds: 100 });
  await add('foreign', 2, { queue: 4, owner: 'ann' });
});

const filter = (overrides: Partial<TaskFilter>): TaskFilter => ({
  project: 'default',
  queue: null,
  state: null,
  owner: null,
  limit: 100,
  before: null,
  ...overrides,
});

async function list(overrides: Partial<TaskFilter>): Promise<string[]> {
  const { tasks } = await listTasks(database.sql, filter(overrides));
  return tasks.map((task) => task.id);
}

/** Every page, however short. */
async function listAll(overrides: Partial<TaskFilter>): Promise<string[]> {
  const found: string[] = [];
  for (let before: string | null = null; ; ) {
    const page = await listTasks(database.sql, filter({ ...overrides, before }));
    found.push(...page.tasks.map((task) => task.id));
    if (page.next === null) return found;
    before = page.next;
  }
}

const newestFirst = (...kinds: string[]) =>
  kinds
    .flatMap((kind) => ids[kind] ?? [])
    .sort()
    .reverse();

const STATES = ['succeeded', 'failed', 'leased', 'ready', 'scheduled', 'cancelled'] as const;

describe('listTasks()', () => {
  it.each(STATES)('lists a queue by state %s', async (state) => {
    expect(await list({ queue: 'default', state })).toEqual(ids[state]);
  });

  it('lists every queue of a project, newest first, and none of another', async () => {
    expect(await list({})).toEqual(newestFirst(...STATES, 'second', 'third'));
    expect(await list({ project: 'other' })).toEqual(ids.foreign);
    expect(await list({ state: 'scheduled' })).toEqual(newestFirst('scheduled', 'third'));
    expect(await list({ state: 'ready' })).toEqual(newestFirst('ready', 'second'));
  });

  it('lists by owner within the project', async () => {
    expect(await list({ owner: 'ann' })).toEqual(newestFirst('failed', 'ready'));
    expect(await list({ owner: 'ann', state: 'failed' })).toEqual(ids.failed);
    expect(await list({ owner: 'ann', queue: 'second' })).toEqual([]);
    expect(await list({ owner: 'ann', project: 'other' })).toEqual(ids.foreign);
  });

  it('finds nothing in a queue that is not there', async () => {
    expect(await listTasks(database.sql, filter({ queue: 'none' }))).toEqual({
      tasks: [],
      next: null,
    });
  });

  it.each([1, 2, 3, 7])('pages of %i add up to the whole, without repeats', async (limit) => {
    expect(await listAll({ limit })).toEqual(await list({}));
    expect(await listAll({ limit, state: 'ready' })).toEqual(await list({ state: 'ready' }));
    expect(await listAll({ limit, owner: 'ann' })).toEqual(await list({ owner: 'ann' }));
  });

  it('ends a page where a walk was cut short, and goes on there', async () => {
    const { sql } = database;
    await sql`insert into errand.queue (project, name, shard)
      select 'default', 'q' || i, 20 from generate_series(1, 600) i`;
    const many = await enqueueTasks(
      sql,
      Array.from({ length: 20 }, () => newTask({ queue: 10, shard: 20 })),
    );
    const newest = many.map((each) => each.taskId).reverse();
    const page = await listTasks(sql, filter({}));
    expect(page.tasks.length).toBeLessThan(newest.length);
    expect(page.next).not.toBeNull();
    expect(await listAll({})).toEqual([...newest, ...newestFirst(...STATES, 'second', 'third')]);
    await sql`delete from errand.queue where shard = 20`;
  });

  it('hides what a purge has passed', async () => {
    const { sql } = database;
    await sql`update errand.queue set purged_before = errand.lowest_task_id(clock_timestamp())
      where name = 'second'`;
    expect(await list({ queue: 'second' })).toEqual([]);
    await sql`update errand.queue set purged_before = null`;
  });
});
