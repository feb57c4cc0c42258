import type { Sql } from './database.ts';
import { taskIdText } from './task-id.ts';

export interface Verification {
  /** Tasks looked at. */
  tasks: number;
  problems: Problem[];
}

export interface Problem {
  kind: 'in-no-room' | 'in-several-rooms' | 'room-without-task' | 'wrong-step';
  count: number;
  /** Ids of the first few. */
  examples: string[];
}

/**
 * Checks that every task lies in exactly one room, at its newest step, and that no room holds a task
 * that does not exist. One statement, so it sees one moment, also of a system at work. It reads
 * everything: minutes on a large database, and no locks.
 */
export async function verifyRooms(sql: Sql): Promise<Verification> {
  const rows = await sql<
    { kind: Problem['kind'] | null; count: number; examples: string[]; tasks: number }[]
  >`
    with room as (
      select shard, task, step from errand.ready
      union all select shard, task, step from errand.parked
      union all select shard, task, step from errand.scheduled
      union all select shard, task, step from errand.lease
      union all select shard, task, step from errand.finished
    ),
    held as (
      select shard, task, count(*) as rooms, max(step) as step from room group by shard, task
    ),
    known as (
      select t.shard, t.id, max(t.step) as step,
        bool_or(q.is_purging and t.id < q.purged_before) as is_going
      from errand.task t left join errand.queue q on q.id = t.queue
      group by t.shard, t.id
    ),
    judged as (
      select coalesce(k.id, h.task) as id,
        case
          when k.id is null then 'room-without-task'
          when h.task is null then 'in-no-room'
          when h.rooms > 1 then 'in-several-rooms'
          when h.step <> k.step then 'wrong-step'
        end as kind,
        coalesce(k.is_going, false) as is_going
      from known k full join held h on h.shard = k.shard and h.task = k.id
    )
    select j.kind, count(*)::integer as count, to_jsonb((array_agg(j.id::text order by j.id))[1:5]) as examples,
      (select count(*)::integer from known) as tasks
    from judged j where j.kind is null or not j.is_going
    group by j.kind
  `;
  return {
    tasks: rows[0]?.tasks ?? 0,
    problems: rows
      .filter((row) => row.kind !== null)
      .map((row) => ({
        kind: row.kind!,
        count: row.count,
        examples: row.examples.map(taskIdText),
      })),
  };
}
