import { randomBytes } from 'node:crypto';
import type { Sql } from './database.ts';
import { type Project, projectColumns, toProject } from './project.ts';
import type { Envelope, Vault } from './vault.ts';

/** What the envelope of a data key is bound to: its id is not known when it is wrapped. */
export function dataKeyContext(project: string): string {
  return `data-key/${project}`;
}

/**
 * A new data key, 32 random bytes, as its row holds it. Null without a master key: beside what it
 * encrypts, a key that is not wrapped protects nothing.
 */
export function makeDataKey(vault: Vault, project: string): Envelope | null {
  if (vault.keyId === null) return null;
  const secret = randomBytes(32).toString('base64');
  return vault.seal<unknown>(secret, dataKeyContext(project)) as Envelope;
}

/**
 * Has new tasks of a project encrypted with `wrapped`, or no longer (null). One that encrypts already
 * keeps its key unless `isRenewed`. Tasks that are there stay as they are. Null when there is no such
 * project.
 *
 * Primary key. Locks the project's row first: of two at once the second sees the key of the first. Safe
 * to repeat, but for a renewal, which makes one more.
 */
export async function setEncryption(
  sql: Sql,
  project: string,
  wrapped: Envelope | null,
  { isRenewed = false }: { isRenewed?: boolean } = {},
): Promise<Project | null> {
  const [row] = await sql<Project[]>`
    with target as materialized (
      select name as target, data_key as present from errand.project
      where name = ${project} for update
    ),
    made as (
      insert into errand.data_key (project, wrapped)
      select target, ${wrapped && JSON.stringify(wrapped)}::text::jsonb from target
      where ${wrapped !== null} and (present is null or ${isRenewed})
      returning id
    )
    update errand.project p
    set data_key = case when ${wrapped !== null} then coalesce((select id from made), t.present) end
    from target t where p.name = t.target
    returning ${projectColumns(sql)}
  `;
  return row ? toProject(row) : null;
}

/**
 * A data key as its row holds it; null when the project has none of this id. `wrapped` is null when it
 * was given up. Index: primary key. No locks.
 */
export async function findDataKey(
  sql: Sql,
  project: string,
  id: number,
): Promise<{ wrapped: Envelope | null } | null> {
  const [row] = await sql<{ wrapped: Envelope | null }[]>`
    select wrapped from errand.data_key where id = ${id} and project = ${project}
  `;
  return row ?? null;
}

/** Projects whose new tasks are encrypted with a data key that this master key wraps. No locks. */
export async function projectsWrappedBy(sql: Sql, masterKeyId: string): Promise<string[]> {
  const rows = await sql<{ name: string }[]>`
    select p.name from errand.project p join errand.data_key k on k.id = p.data_key
    where k.wrapped ->> 'key' = ${masterKeyId}
  `;
  return rows.map(({ name }) => name);
}
