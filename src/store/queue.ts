import type { QueueRecord, QueueSettings } from '../model.ts';
import { DEFAULT_QUEUE_SETTINGS } from '../model.ts';
import { array } from './array.ts';
import type { Sql } from './database.ts';

/** Settings as given: what is left out is the default's, also when defaults change later. */
export type PartialQueueSettings = {
  [Field in keyof QueueSettings]?: QueueSettings[Field] extends object
    ? Partial<QueueSettings[Field]>
    : QueueSettings[Field];
};

export interface QueueRow {
  id: number;
  project: string;
  name: string;
  shard: number;
  pool: string;
  version: string;
  settings: PartialQueueSettings;
  paused_at: Date | null;
  is_purging: boolean;
  created_at: Date;
  updated_at: Date;
}

/** The settings in force: the defaults, under what was given. Nested fields merge one by one. */
export function resolveSettings(given: PartialQueueSettings): QueueSettings {
  const defaults = DEFAULT_QUEUE_SETTINGS;
  return {
    ...defaults,
    ...given,
    rateLimits: { ...defaults.rateLimits, ...given.rateLimits },
    retry: { ...defaults.retry, ...given.retry },
    target: { ...defaults.target, ...given.target },
  };
}

/** Index: `queue_name`. No locks. Null when the project has no such queue. */
export async function findQueue(
  sql: Sql,
  project: string,
  name: string,
): Promise<QueueRecord | null> {
  const rows = await sql<QueueRow[]>`
    select ${queueColumns(sql)} from errand.queue q
    where project = ${project} and name = ${name} and deleted_at is null
  `;
  return firstQueue(rows);
}

/**
 * The queues with these ids, in no order. One that was deleted is still found, as paused and purging:
 * its leases have to be settled by its settings. Index: primary key. No locks.
 */
export async function loadQueuesByIds(sql: Sql, ids: readonly number[]): Promise<QueueRecord[]> {
  const rows = await sql<QueueRow[]>`
    select ${queueColumns(sql)} from errand.queue q where id = any(${array(sql, 'integer', ids)})
  `;
  return rows.map(toQueue);
}

/**
 * The queues that live on these shards of a pool. Reads the whole table, which is small: meant for a
 * dispatcher that takes shards over, and for its reload now and then. No locks.
 */
export async function loadQueuesByShards(
  sql: Sql,
  pool: string,
  shards: readonly number[],
): Promise<QueueRecord[]> {
  const rows = await sql<QueueRow[]>`
    select ${queueColumns(sql)} from errand.queue q
    where pool = ${pool} and shard = any(${array(sql, 'smallint', shards)}) and deleted_at is null
  `;
  return rows.map(toQueue);
}

/** A page of a project's queues by name, those after `afterName`. Index: `queue_name`. No locks. */
export async function listQueues(
  sql: Sql,
  input: { project: string; afterName: string; limit: number },
): Promise<QueueRecord[]> {
  const rows = await sql<QueueRow[]>`
    select ${queueColumns(sql)} from errand.queue q
    where project = ${input.project} and name > ${input.afterName} and deleted_at is null
    order by name limit ${input.limit}
  `;
  return rows.map(toQueue);
}

export function queueColumns(sql: Sql) {
  return sql`q.id, q.project, q.name, q.shard, q.pool, q.version, q.settings, q.paused_at,
    q.is_purging, q.created_at, q.updated_at`;
}

export function firstQueue(rows: readonly QueueRow[]): QueueRecord | null {
  return rows[0] ? toQueue(rows[0]) : null;
}

export function toQueue(row: QueueRow): QueueRecord {
  return {
    id: row.id,
    project: row.project,
    name: row.name,
    shard: row.shard,
    pool: row.pool,
    version: Number(row.version),
    settings: resolveSettings(row.settings),
    paused: row.paused_at !== null,
    isPurging: row.is_purging,
    createdAt: row.created_at,
    updatedAt: row.updated_at,
  };
}
