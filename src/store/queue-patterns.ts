import { array } from './array.ts';
import type { Sql } from './database.ts';

/** The queues' names that an API key may see: names, or beginnings with a `*`; null = every one. */
export type QueuePatterns = readonly string[] | null;

/** A condition on the column `name`. */
export function isAmong(sql: Sql, patterns: QueuePatterns) {
  if (patterns === null) return sql`true`;
  return sql`name like any(${array(sql, 'text', patterns.map(likePattern))})`;
}

/** An underscore stands for itself in a queue's name, and for any letter in SQL. */
function likePattern(pattern: string): string {
  return pattern.replaceAll('_', '\\_').replace(/\*$/, '%');
}
