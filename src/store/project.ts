import type { ProjectQuotas } from '../protocol/access.ts';
import type { Sql } from './database.ts';

export interface Project {
  name: string;
  quotas: ProjectQuotas;
  /** What new tasks are encrypted with; null = they are not. */
  dataKey: number | null;
  /** What the cursors of its lists are sealed with: nothing to be told. */
  cursorKey: Uint8Array;
  createdAt: Date;
}

const NO_QUOTAS: ProjectQuotas = {
  maxBacklog: null,
  maxEnqueuesPerSecond: null,
  maxEnqueueBurst: null,
};

/** The quotas in force: what was given, and no limit for the rest. */
export function resolveQuotas(given: Partial<ProjectQuotas>): ProjectQuotas {
  return { ...NO_QUOTAS, ...given };
}

/** Makes a project; false when it is there already. Safe to repeat, and beside another process. */
export async function createProject(sql: Sql, name: string): Promise<boolean> {
  const rows = await sql`
    insert into errand.project (name) values (${name}) on conflict do nothing returning name
  `;
  return rows.length > 0;
}

/**
 * Makes a project with these quotas, or replaces those of the one that is there. Locks its row. Safe to
 * repeat, and beside another process.
 */
export async function putProject(
  sql: Sql,
  name: string,
  quotas: Partial<ProjectQuotas>,
): Promise<{ project: Project; isCreated: boolean }> {
  const [row] = await sql<(Project & { isCreated: boolean })[]>`
    insert into errand.project as p (name, quotas)
    values (${name}, ${JSON.stringify(quotas)}::text::jsonb)
    on conflict (name) do update set quotas = excluded.quotas
    returning ${projectColumns(sql)}, p.xmax = 0 as "isCreated"
  `;
  const { isCreated, ...project } = row!;
  return { project: toProject(project), isCreated };
}

/** Changes some quotas and leaves the rest; null when there is no such project. Locks its row. */
export async function patchProject(
  sql: Sql,
  name: string,
  quotas: Partial<ProjectQuotas>,
): Promise<Project | null> {
  const [row] = await sql<Project[]>`
    update errand.project set quotas = quotas || ${JSON.stringify(quotas)}::text::jsonb
    where name = ${name} returning ${projectColumns(sql)}
  `;
  return row ? toProject(row) : null;
}

/** Primary key, no locks. Null when there is no such project. */
export async function findProject(sql: Sql, name: string): Promise<Project | null> {
  const [row] = await sql<Project[]>`
    select ${projectColumns(sql)} from errand.project where name = ${name}
  `;
  return row ? toProject(row) : null;
}

/** Every project by name. Reads the small table whole. */
export async function listProjects(sql: Sql): Promise<Project[]> {
  const rows = await sql<Project[]>`
    select ${projectColumns(sql)} from errand.project order by name
  `;
  return rows.map(toProject);
}

/** Primary key, no locks. */
export async function projectExists(sql: Sql, name: string): Promise<boolean> {
  const rows = await sql`select from errand.project where name = ${name}`;
  return rows.length > 0;
}

export function projectColumns(sql: Sql) {
  return sql`name, quotas, data_key as "dataKey", cursor_key as "cursorKey", created_at as "createdAt"`;
}

export function toProject(row: Project): Project {
  return { ...row, quotas: resolveQuotas(row.quotas) };
}
