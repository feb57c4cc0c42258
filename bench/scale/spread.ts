import { SHARDS } from '../../src/model.ts';
import type { Sql } from '../../src/store/database.ts';
import { RATE_LIMITS } from '../rows/errand.ts';
import { CONTENT_TYPE, PAYLOAD } from '../work.ts';

/** Queues `<prefix>0` and so on, evenly over the shards given (default: all). */
export async function createQueues(
  sql: Sql,
  prefix: string,
  queues: number,
  shards: readonly number[] = Array.from({ length: SHARDS }, (_, shard) => shard),
): Promise<void> {
  await sql`
    insert into errand.queue (project, name, shard, settings)
    select 'default', ${prefix}::text || n,
      (${`{${shards.join()}}`}::text::smallint[])[n % ${shards.length}::integer + 1],
      ${JSON.stringify({ rateLimits: RATE_LIMITS })}::text::jsonb
    from generate_series(0, ${queues - 1}::integer) n`;
}

/** Enqueues tasks in turn into every queue whose name begins so, all at once; whose owners will find them. */
export async function spread(sql: Sql, url: string, prefix: string, tasks: number): Promise<void> {
  await sql`
    with queue as materialized (
      select id, shard, row_number() over (order by id) - 1 as at, count(*) over () as queues
      from errand.queue where starts_with(name, ${prefix}) and deleted_at is null
    ),
    fresh as materialized (
      select q.id as queue, q.shard, n, clock_timestamp() as at,
        errand.task_id(clock_timestamp(), q.shard, gen_random_uuid()) as id
      from generate_series(0, ${tasks - 1}::integer) n
      join queue q on q.at = n % q.queues
    ),
    cold as (
      insert into errand.task (shard, id, step, queue, rank, url, method, content_type, body,
        scheduled_at, created_at)
      select shard, id, 0, queue, 0, ${url}, 'POST', ${CONTENT_TYPE}, ${Buffer.from(PAYLOAD)}, at, at
      from fresh
    )
    insert into errand.ready (shard, queue, rank, seq, task, step, attempt, due_at)
    select shard, queue, 0, nextval('errand.task_seq'), id, 0, 0, at
    from (select * from fresh order by n) f`;
}
