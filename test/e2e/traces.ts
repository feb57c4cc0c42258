import type { Sql } from 'postgres';

/**
 * Tables of schema `errand` that have one of these texts in a row, as a dump would show it: as text, or
 * among the hex digits of bytes.
 */
export async function tracesOf(sql: Sql, texts: readonly string[]): Promise<string[]> {
  const patterns = texts.flatMap((text) => [text, Buffer.from(text).toString('hex')]);
  const tables = await sql<{ name: string }[]>`
    select relname as name from pg_class
    where relnamespace = 'errand'::regnamespace and relkind = 'r' order by relname`;
  const found: string[] = [];
  for (const { name } of tables) {
    const [row] = await sql<{ rows: number }[]>`
      select count(*)::integer as rows from ${sql(`errand.${name}`)} t
      where t::text like any(${patterns.map((pattern) => `%${pattern}%`)})`;
    if (row!.rows > 0) found.push(name);
  }
  return found;
}
