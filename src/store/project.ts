import type { Sql } from './database.ts';

export interface Project {
  name: string;
  createdAt: Date;
}

/** Makes a project; false when it is there already. Safe to repeat, and beside another process. */
export async function createProject(sql: Sql, name: string): Promise<boolean> {
  const rows = await sql`
    insert into errand.project (name) values (${name}) on conflict do nothing returning name
  `;
  return rows.length > 0;
}

/** Every project by name. Reads the small table whole. */
export async function listProjects(sql: Sql): Promise<Project[]> {
  return sql<Project[]>`
    select name, created_at as "createdAt" from errand.project order by name
  `;
}

/** Primary key, no locks. */
export async function projectExists(sql: Sql, name: string): Promise<boolean> {
  const rows = await sql`select from errand.project where name = ${name}`;
  return rows.length > 0;
}
