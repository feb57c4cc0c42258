import type { Report } from './world.ts';

const COLUMNS = [
  'fault',
  'acknowledged',
  'lost',
  'unexpected',
  'duplicated',
  'in flight',
  'recovered',
  'again (s)',
  'took (s)',
  '',
];

export type Result = { name: string; tookSeconds: number } & (
  | { kind: 'judged'; report: Report }
  | { kind: 'skipped'; why: string }
  | { kind: 'broken'; why: string }
);

/** The results as a table in Markdown. */
export function renderResults(results: readonly Result[]): string {
  const rows = [COLUMNS, COLUMNS.map(() => '---'), ...results.map(cellsOf)];
  return rows.map((cells) => `| ${cells.join(' | ')} |`).join('\n');
}

/** What was not as it must be. */
export function problemsOf(result: Result): string[] {
  if (result.kind === 'skipped') return [];
  return result.kind === 'broken' ? [result.why] : result.report.problems;
}

function cellsOf(result: Result): string[] {
  const { name, tookSeconds } = result;
  const took = tookSeconds.toFixed(0);
  if (result.kind !== 'judged') {
    const blank = COLUMNS.slice(3).map(() => '');
    return [name, result.kind, ...blank, result.kind === 'skipped' ? result.why : '**broken**'];
  }
  const { report } = result;
  const { acknowledged, lost, unexpected, duplicated, exposed, recovered, againSeconds } = report;
  const verdict = problemsOf(result).length === 0 ? report.remarks.join(', ') : '**failed**';
  return [
    name,
    String(acknowledged),
    String(lost.length),
    String(unexpected.length),
    String(duplicated),
    String(exposed),
    String(recovered),
    againSeconds === null ? '' : againSeconds.toFixed(1),
    took,
    verdict,
  ];
}
