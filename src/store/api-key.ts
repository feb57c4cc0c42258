import { DEFAULT_KEY_SCOPES, type KeyScope, type ProjectQuotas } from '../protocol/access.ts';
import { array } from './array.ts';
import type { Sql } from './database.ts';
import { resolveQuotas } from './project.ts';

/** An API key as it may be listed: its secret was shown once, when it was made. */
export interface ApiKey {
  id: string;
  project: string;
  label: string;
  scopes: KeyScope[];
  /** Names of queues, or how they begin, with a `*` at the end; null = every queue. */
  queues: string[] | null;
  createdAt: Date;
  /** Null = never. */
  expiresAt: Date | null;
  /** To the minute; null = never. */
  lastUsedAt: Date | null;
  revokedAt: Date | null;
}

export interface NewApiKey extends Pick<ApiKey, 'id' | 'project'> {
  /** What people know it by. */
  label: string;
  /** Default DEFAULT_KEY_SCOPES. */
  scopes?: readonly KeyScope[];
  /** Default null: every queue. */
  queues?: readonly string[] | null;
  /** Seconds from now. Default null: it never expires. */
  expiresInSeconds?: number | null;
  /** SHA-256 of the whole key. */
  secretHash: Uint8Array;
}

/** What is needed to let a key in. Times are relative to the read, so that no other clock is needed. */
export interface KnownApiKey extends Pick<ApiKey, 'id' | 'project' | 'scopes' | 'queues'> {
  secretHash: Uint8Array;
  quotas: ProjectQuotas;
  /** See Project. */
  dataKey: number | null;
  cursorKey: Uint8Array;
  expiresInSeconds: number | null;
  /** Null when it never was. */
  usedBeforeSeconds: number | null;
}

/** Enters a key. Appends only. Repeating it with the same id throws (23505). */
export async function insertApiKey(sql: Sql, key: NewApiKey): Promise<ApiKey> {
  const { scopes = DEFAULT_KEY_SCOPES, queues = null, expiresInSeconds = null } = key;
  const [row] = await sql<ApiKey[]>`
    insert into errand.api_key (id, project, label, secret_hash, scopes, queues, expires_at)
    values (${key.id}, ${key.project}, ${key.label}, ${Buffer.from(key.secretHash)},
      ${array(sql, 'text', scopes)}, ${queues && array(sql, 'text', queues)},
      now() + make_interval(secs => ${expiresInSeconds}::double precision))
    returning ${columns(sql)}
  `;
  return row!;
}

/**
 * For authentication: null when there is no such key, or it was revoked or has expired. Primary keys,
 * no locks.
 */
export async function findApiKey(sql: Sql, id: string): Promise<KnownApiKey | null> {
  const [row] = await sql<KnownApiKey[]>`
    select k.id, k.project, k.secret_hash as "secretHash", p.quotas,
      p.data_key as "dataKey", p.cursor_key as "cursorKey",
      to_jsonb(k.scopes) as scopes, to_jsonb(k.queues) as queues,
      extract(epoch from k.expires_at - now())::double precision as "expiresInSeconds",
      extract(epoch from now() - k.last_used_at)::double precision as "usedBeforeSeconds"
    from errand.api_key k join errand.project p on p.name = k.project
    where k.id = ${id} and k.revoked_at is null and (k.expires_at is null or k.expires_at > now())
  `;
  return row ? { ...row, quotas: resolveQuotas(row.quotas) } : null;
}

/** Every key of a project, revoked ones too, the newest first. Reads the small table whole. */
export async function listApiKeys(sql: Sql, project: string): Promise<ApiKey[]> {
  return sql<ApiKey[]>`
    select ${columns(sql)} from errand.api_key
    where project = ${project} order by created_at desc, id
  `;
}

/** Revokes a key; false when the project has no such key. Locks its row. Safe to repeat. */
export async function revokeApiKey(sql: Sql, project: string, id: string): Promise<boolean> {
  const rows = await sql`
    update errand.api_key set revoked_at = coalesce(revoked_at, now())
    where id = ${id} and project = ${project} returning id
  `;
  return rows.length > 0;
}

/**
 * Notes that keys were used, each at most once a minute whoever tells of it. Primary key. Locks their
 * rows, in the order of their ids, so that two processes never wait for one another in a circle; what
 * another has locked is told by that one, and skipped.
 */
export async function noteKeyUse(sql: Sql, ids: readonly string[]): Promise<void> {
  await sql`
    update errand.api_key k set last_used_at = now()
    from (
      select id from errand.api_key
      where id = any(${array(sql, 'text', ids)})
        and (last_used_at is null or last_used_at < now() - interval '1 minute')
      order by id for update skip locked
    ) used
    where k.id = used.id
  `;
}

function columns(sql: Sql) {
  return sql`id, project, label, to_jsonb(scopes) as scopes, to_jsonb(queues) as queues,
    created_at as "createdAt", expires_at as "expiresAt", last_used_at as "lastUsedAt",
    revoked_at as "revokedAt"`;
}
