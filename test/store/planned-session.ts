import postgres, { type Sql } from 'postgres';
import { BY_KEY } from '../../src/store/database.ts';

/** What a node of a plan did to one table. */
export interface Access {
  table: string;
  how: string;
  index: string | undefined;
  /** Rows read, those that a filter threw away included. */
  rows: number;
}

interface PlanNode {
  'Node Type': string;
  'Relation Name'?: string;
  'Index Name'?: string;
  'Actual Rows': number;
  'Actual Loops': number;
  'Rows Removed by Filter'?: number;
  'Rows Removed by Index Recheck'?: number;
  Plans?: PlanNode[];
}

export interface Session {
  sql: Sql;
  /** Plans of the statements since the last look. */
  plans: PlanNode[];
}

/** With the settings of the service's own sessions, but for how plans are kept. */
export async function openSession(url: string, planCacheMode: string): Promise<Session> {
  const plans: PlanNode[] = [];
  const sql = postgres(url, {
    max: 1,
    connection: BY_KEY,
    onnotice: ({ message }) => {
      const json = /plan:\s*(\{.*\})/s.exec(message ?? '')?.[1];
      if (json !== undefined) plans.push(JSON.parse(json).Plan);
    },
  });
  await sql.unsafe(`
    load 'auto_explain';
    set auto_explain.log_format = json;
    set auto_explain.log_analyze = on;
    set auto_explain.log_timing = off;
    set auto_explain.log_min_duration = 0;
    set client_min_messages = log;
    set plan_cache_mode = ${planCacheMode}`);
  return { sql, plans };
}

/** What the plans since the last look did to the tables that grow. */
export function accesses(session: Session): Access[] {
  const found: Access[] = [];
  const walk = (node: PlanNode): void => {
    const table = node['Relation Name'];
    if (table !== undefined && node['Node Type'] !== 'ModifyTable' && node['Actual Loops'] > 0) {
      const removed =
        (node['Rows Removed by Filter'] ?? 0) + (node['Rows Removed by Index Recheck'] ?? 0);
      const rows = (node['Actual Rows'] + removed) * node['Actual Loops'];
      found.push({ table, how: node['Node Type'], index: node['Index Name'], rows });
    }
    node.Plans?.forEach(walk);
  };
  session.plans.splice(0).forEach(walk);
  return found.filter(({ table }) =>
    /^(ready|parked|scheduled|lease|(task|finished|attempt)_\d+)$/.test(table),
  );
}
