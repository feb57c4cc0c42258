import type { Decision, Settlement } from '../model.ts';
import { columnsOf } from './array.ts';
import type { Sql } from './database.ts';

/**
 * Settlements as rows; of several of one lease, the first. In the order of the tasks, in which their
 * leases are locked: two batches that share some would else wait for each other in a ring.
 */
export function decisionRows(sql: Sql, settlements: readonly Settlement[]) {
  const ofLease = Map.groupBy(settlements, (settlement) => settlement.leaseId);
  const column = columnsOf(
    sql,
    [...ofLease.values()]
      .map(([first]) => first!)
      .sort((one, other) => (one.taskId < other.taskId ? -1 : 1)),
  );
  const delay = (d: Decision) => (d.kind === 'retry' || d.kind === 'continue' ? d.delaySeconds : 0);
  const output = (d: Decision) => (d.kind === 'succeed' || d.kind === 'fail' ? d.output : null);
  const progress = (d: Decision) =>
    d.kind === 'succeed' || d.kind === 'continue' ? d.progress : null;
  const next = (d: Decision) => (d.kind === 'continue' ? d : null);
  const json = (text: string | undefined) => (text === undefined ? null : JSON.stringify(text));
  return sql`
    select * from unnest(
      ${column('uuid', (s) => s.taskId)}, ${column('uuid', (s) => s.leaseId)},
      ${column('text', (s) => s.decision.kind)}, ${column('text', (s) => s.outcome)},
      ${column('smallint', (s) => s.status)}, ${column('text', (s) => s.error)},
      ${column('integer', (s) => Math.round(s.durationMs))},
      ${column('float', (s) => delay(s.decision))},
      ${column('text', (s) => (s.decision.kind === 'fail' ? s.decision.reason : null))},
      ${column('bytea', (s) => output(s.decision)?.body ?? null)},
      ${column('text', (s) => output(s.decision)?.contentType ?? null)},
      ${column('text', (s) => output(s.decision)?.fileName ?? null)},
      ${column('boolean', (s) => output(s.decision)?.isTruncated ?? null)},
      ${column('real', (s) => progress(s.decision))},
      ${column('bytea', (s) => next(s.decision)?.payload ?? null)},
      ${column('text', (s) => next(s.decision)?.url ?? null)},
      ${column('text', (s) => json(next(s.decision)?.sealedHeaders))},
      ${column('boolean', (s) => next(s.decision)?.dropAuthorization ?? false)},
      ${column('text', (s) => s.name)}, ${column('float', (s) => s.retentionSeconds)},
      ${column('float', (s) => s.nameRetentionSeconds)}
    ) as d(
      task, lease_id, kind, outcome, status, error, duration_ms, delay, reason, output, output_type,
      output_name, is_truncated, progress, next_body, next_url, next_headers, drops_authorization, name, retention,
      name_retention)`;
}
