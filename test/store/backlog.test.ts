import { describe, expect, it } from 'vitest';
import type { QueueRecord } from '../../src/model.ts';
import { countBacklog } from '../../src/store/backlog.ts';
import { enqueueTasks } from '../../src/store/enqueue.ts';
import { putQueue } from '../../src/store/queue-change.ts';
import { purgeQueue } from '../../src/store/queue-removal.ts';
import { newTask, useDatabase } from './task-fixture.ts';

const database = useDatabase();
const project = 'default';

async function makeQueue(name: string): Promise<QueueRecord> {
  return (await putQueue(database.sql, { project, name, settings: {} })).queue;
}

async function fill({ id, shard }: QueueRecord, count: number, delaySeconds = 0): Promise<void> {
  const fields = { queue: id, shard, delaySeconds };
  await enqueueTasks(
    database.sql,
    Array.from({ length: count }, () => newTask(fields)),
  );
}

describe('countBacklog()', () => {
  it('counts what is ready, scheduled and parked, of this queue alone', async () => {
    const queue = await makeQueue('counted');
    const other = { ...queue, id: queue.id + 1_000 };
    await fill(queue, 3);
    await fill(queue, 2, 600);
    await fill(other, 4);
    await fill(other, 4, 600);
    await database.sql`
      insert into errand.parked (shard, queue, flow_key, rank, seq, task, step, attempt, due_at)
      values (${queue.shard}, ${queue.id}, 'key', 0, 1, gen_random_uuid(), 0, 0, now())`;
    expect(await countBacklog(database.sql, queue, 100)).toBe(6);
  });

  it('stops counting each kind at the bound', async () => {
    const queue = await makeQueue('bounded');
    await fill(queue, 9);
    await fill(queue, 9, 600);
    expect(await countBacklog(database.sql, queue, 4)).toBe(8);
  });

  it('leaves out what a purge has passed, and counts what came after', async () => {
    const queue = await makeQueue('purged');
    await fill(queue, 3);
    await fill(queue, 3, 600);
    const purging = (await purgeQueue(database.sql, project, 'purged'))!;
    expect(await countBacklog(database.sql, purging, 100)).toBe(0);
    await fill(queue, 2);
    expect(await countBacklog(database.sql, purging, 100)).toBe(2);
  });

  it('reads none but its own rows', async () => {
    const queue = await makeQueue('planned');
    await fill(queue, 2, 600);
    await fill({ ...queue, id: queue.id + 1_000 }, 2_000, 600);
    await database.sql`analyze errand.scheduled`;
    const plan = await database.sql.unsafe(
      'explain select from errand.scheduled where shard = $1 and queue = $2 limit 10',
      [queue.shard, queue.id],
    );
    expect(JSON.stringify(plan)).toContain('scheduled_by_queue');
  });
});
