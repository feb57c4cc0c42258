import { SHARDS } from '../model.ts';
import type { TaskState } from '../protocol/resources.ts';
import type { Sql } from './database.ts';
import { isAmong, type QueuePatterns } from './queue-patterns.ts';
import { taskIdText } from './task-id.ts';
import {
  type Fragment,
  isSeen,
  rooms,
  type TaskRecord,
  type TaskRow,
  taskColumns,
  taskRecord,
} from './task-read.ts';

/** Which tasks to list; null = any. */
export interface TaskFilter {
  project: string;
  queue: string | null;
  /** Queues that may be shown at all. Default every one. */
  among?: QueuePatterns;
  state: TaskState | null;
  owner: string | null;
  limit: number;
  /** Only tasks older than the one with this id. */
  before: string | null;
}

export interface TaskPage {
  /** Newest first; may be fewer than the limit, or none, although there are more. */
  tasks: TaskRecord[];
  /** Where to go on: tasks older than this id. Null at the end. */
  next: string | null;
}

/** Index entries that one statement looks at, over all the places it looks at. */
const SCANNED = 1_000;
/** Of each queue at least, however many queues there are. */
const LEAST_SCANNED = 8;
const NEWEST = 'f'.repeat(32);

/**
 * Lists tasks newest first. Ids are walked downwards along the index that narrows best (the owner's,
 * that of unsuccessful ends, that of the state's room, else each queue's), a bounded number at each
 * place; then each is looked up in its room, which drops what the other filters, a purge or retention
 * hide. Where a walk was cut short, nothing below the highest cut may be shown yet: the page ends there,
 * and the next begins there. So a statement's cost is bounded, whatever lies in the tables.
 * Locks nothing. A task that changes its room between two pages may be missed in a list by state.
 */
export async function listTasks(sql: Sql, filter: TaskFilter): Promise<TaskPage> {
  const at = { shard: sql`s.shard`, task: sql`s.id` };
  const rows = await sql<(Omit<TaskRow, 'id'> & { id: string | null; floor: string | null })[]>`
    with queues as materialized (
      select id, shard, greatest(${LEAST_SCANNED}, ${SCANNED} / count(*) over ())::integer as scan
      from errand.queue q
      where project = ${filter.project} and deleted_at is null
        ${filter.queue === null ? sql`` : sql`and name = ${filter.queue}`}
        and ${isAmong(sql, filter.among ?? null)}
    ),
    scanned as materialized (${walk(sql, filter)}),
    floor as materialized (
      select id from (
        select distinct on (source) id, scan, count(*) over (partition by source) as walked
        from scanned order by source, id
      ) lowest
      where walked >= scan order by id desc limit 1
    ),
    page as (
      select ${taskColumns(sql)}, null::bytea as body
      from (
        select shard, id from scanned
        where id >= coalesce((select id from floor), ${'0'.repeat(32)}::uuid)
        order by id desc
      ) s
      cross join lateral (${rooms(sql, at)}) r
      join errand.queue q on q.id = r.queue and q.id in (select id from queues)
        and ${isSeen(sql, at.task)}
      join errand.task t on t.shard = s.shard and t.id = s.id and t.step = r.step
      where ${filter.state === null ? sql`true` : sql`r.state = ${filter.state}`}
      order by s.id desc limit ${filter.limit + 1}
    )
    select p.*, (select id from floor) as floor
    from (select 1) one left join page p on true
    order by p.id desc
  `;
  const tasks = rows.flatMap((row) =>
    row.id === null ? [] : [taskRecord({ ...row, id: row.id })],
  );
  const floor = rows[0]?.floor ?? null;
  if (tasks.length > filter.limit) {
    const shown = tasks.slice(0, filter.limit);
    return { tasks: shown, next: shown.at(-1)!.id };
  }
  return { tasks, next: floor === null ? null : taskIdText(floor) };
}

/** Candidates as (source, scan, shard, id): the newest `scan` of each source that are old enough. */
function walk(sql: Sql, { state, owner, before }: TaskFilter): Fragment {
  const from = sql`${before ?? NEWEST}::uuid`;
  if (owner !== null) {
    return sql`
      select 0 as source, ${SCANNED}::integer as scan, t.shard, t.id
      from (
        select shard, id from errand.task
        where owner = ${owner} and step = 0 and id < ${from}
        order by id desc limit ${SCANNED}
      ) t`;
  }
  switch (state) {
    case 'ready':
      return walkRooms(sql, [sql`errand.ready`, sql`errand.parked`], from);
    case 'scheduled':
      return walkRooms(sql, [sql`errand.scheduled`], from);
    case 'leased':
      return walkRooms(sql, [sql`errand.lease`], from);
    case 'failed':
    case 'cancelled':
      return sql`
        select q.id as source, q.scan, q.shard, f.task as id
        from queues q cross join lateral (
          select f.task from errand.finished f
          where f.queue = q.id and f.state <> 'succeeded' and f.task < ${from}
          order by f.task desc limit q.scan
        ) f`;
    default:
      return sql`
        select q.id as source, q.scan, q.shard, t.id
        from queues q cross join lateral (
          select t.id from errand.task t
          where t.queue = q.id and t.step = 0 and t.id < ${from}
          order by t.id desc limit q.scan
        ) t`;
  }
}

function walkRooms(sql: Sql, [first, second]: [Fragment, Fragment?], from: Fragment): Fragment {
  if (second === undefined) return walkRoom(sql, first, from, 0);
  return sql`${walkRoom(sql, first, from, 0)} union all ${walkRoom(sql, second, from, SHARDS)}`;
}

/** Rooms have no index by queue, so their shards are walked, which other queues may share. */
function walkRoom(sql: Sql, room: Fragment, from: Fragment, firstSource: number): Fragment {
  return sql`
    select s.shard::integer + ${firstSource}::integer as source, s.scan, s.shard, r.task as id
    from (
      select shard, greatest(${LEAST_SCANNED}, ${SCANNED} / count(*) over ())::integer as scan
      from queues group by shard
    ) s
    cross join lateral (
      select r.task from ${room} r
      where r.shard = s.shard and r.task < ${from}
      order by r.task desc limit s.scan
    ) r`;
}
