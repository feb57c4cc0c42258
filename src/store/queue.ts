import type { NamedCalendar, QueueRecord, QueueSettings, WebhookSecretRecord } from '../model.ts';
import { DEFAULT_FLOW_LIMITS, DEFAULT_QUEUE_SETTINGS } from '../model.ts';
import { array } from './array.ts';
import type { Sql } from './database.ts';
import { isAmong, type QueuePatterns } from './queue-patterns.ts';

/** Settings as given: what is left out is the default's, also when defaults change later. */
export type PartialQueueSettings = {
  [Field in keyof QueueSettings]?: Merged extends Record<Field, true>
    ? Partial<NonNullable<QueueSettings[Field]>> | Extract<QueueSettings[Field], null>
    : QueueSettings[Field];
};

/** Fields whose parts merge one by one; of the others the whole is replaced. */
type Merged = {
  rateLimits: true;
  retry: true;
  target: true;
  flow: true;
  circuitBreaker: true;
};

export interface QueueRow {
  id: number;
  project: string;
  name: string;
  shard: number;
  pool: string;
  version: string;
  settings: PartialQueueSettings;
  calendar: NamedCalendar | null;
  paused_at: Date | null;
  is_purging: boolean;
  pool_changed_at: Date | null;
  webhook_secrets: WebhookSecretRecord[];
  created_at: Date;
  updated_at: Date;
}

/**
 * The settings in force: the defaults, or what a patch is put over, under what was given. Nested fields
 * merge one by one; an object over null begins with its defaults.
 */
export function resolveSettings(
  given: PartialQueueSettings,
  under: QueueSettings = DEFAULT_QUEUE_SETTINGS,
): QueueSettings {
  const { circuitBreaker } = DEFAULT_QUEUE_SETTINGS;
  return {
    ...under,
    ...given,
    rateLimits: { ...under.rateLimits, ...given.rateLimits },
    retry: { ...under.retry, ...given.retry },
    target: { ...under.target, ...given.target },
    flow: merged(DEFAULT_FLOW_LIMITS, under.flow, given.flow),
    circuitBreaker: merged(circuitBreaker!, under.circuitBreaker, given.circuitBreaker),
  };
}

function merged<Settings>(
  defaults: Settings,
  under: Settings | null,
  given: Partial<Settings> | null | undefined,
): Settings | null {
  if (given === undefined) return under;
  return given && { ...defaults, ...under, ...given };
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

/** A page of a project's queues by name, those after `afterName`. Index: `queue_name`. No locks. */
export async function listQueues(
  sql: Sql,
  input: { project: string; afterName: string; limit: number; among?: QueuePatterns },
): Promise<QueueRecord[]> {
  const rows = await sql<QueueRow[]>`
    select ${queueColumns(sql)} from errand.queue q
    where project = ${input.project} and name > ${input.afterName} and deleted_at is null
      and ${isAmong(sql, input.among ?? null)}
    order by name limit ${input.limit}
  `;
  return rows.map(toQueue);
}

export function queueColumns(sql: Sql) {
  return sql`q.id, q.project, q.name, q.shard, q.pool, q.version, q.settings, q.paused_at,
    q.is_purging, q.pool_changed_at, q.webhook_secrets, q.created_at, q.updated_at,
    (select jsonb_build_object('name', c.name) || c.settings from errand.calendar c
      where c.project = q.project and c.name = q.calendar) as calendar`;
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
    calendar: row.calendar,
    paused: row.paused_at !== null,
    isPurging: row.is_purging,
    poolChangedAt: row.pool_changed_at,
    webhookSecrets: row.webhook_secrets,
    createdAt: row.created_at,
    updatedAt: row.updated_at,
  };
}
