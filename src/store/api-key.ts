import type { Sql } from './database.ts';

/** An API key as it may be listed: its secret was shown once, when it was made. */
export interface ApiKey {
  id: string;
  project: string;
  label: string;
  createdAt: Date;
  revokedAt: Date | null;
}

export interface NewApiKey {
  id: string;
  project: string;
  /** What people know it by. */
  label: string;
  /** SHA-256 of the whole key. */
  secretHash: Uint8Array;
}

/** Enters a key. Appends only. Repeating it with the same id throws (23505). */
export async function insertApiKey(sql: Sql, key: NewApiKey): Promise<ApiKey> {
  const [row] = await sql<ApiKey[]>`
    insert into errand.api_key (id, project, label, secret_hash)
    values (${key.id}, ${key.project}, ${key.label}, ${Buffer.from(key.secretHash)})
    returning id, project, label, created_at as "createdAt", revoked_at as "revokedAt"
  `;
  return row!;
}

/** For authentication: null when there is no such key or it was revoked. Primary key, no locks. */
export async function findApiKey(
  sql: Sql,
  id: string,
): Promise<{ project: string; secretHash: Uint8Array } | null> {
  const [row] = await sql<{ project: string; secretHash: Uint8Array }[]>`
    select project, secret_hash as "secretHash" from errand.api_key
    where id = ${id} and revoked_at is null
  `;
  return row ?? null;
}

/** Every key of a project, revoked ones too, the newest first. Reads the small table whole. */
export async function listApiKeys(sql: Sql, project: string): Promise<ApiKey[]> {
  return sql<ApiKey[]>`
    select id, project, label, created_at as "createdAt", revoked_at as "revokedAt"
    from errand.api_key where project = ${project} order by created_at desc, id
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
