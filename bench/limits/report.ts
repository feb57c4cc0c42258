import type { QueueFigures } from './judgement.ts';
import type { Finding } from './limit-findings.ts';

/** What the bound of a window forgives. */
const GRACE_MS = 100;

/** What was measured while dispatchers were killed, frozen and so on. */
export interface LimitFigures {
  queues: Record<string, QueueFigures>;
  lostAttempts: number;
  longestTargetStallMs: number;
}

/** The table of what each limit allows and what was seen, and what else is worth knowing of the run. */
export function renderReport(findings: readonly Finding[], limits: LimitFigures | null): string {
  const lines = renderTable([
    ['limit', 'worst seen', 'allowed', 'verdict', 'used when steady'],
    ...findings.map(({ limit, worst, allowed, verdict, used }) => [
      limit,
      worst,
      allowed,
      verdict,
      used === null ? '' : percent(used),
    ]),
  ]);
  if (limits !== null) lines.push('', ...renderCourse(limits));
  const broken = findings.filter(({ verdict }) => verdict !== 'kept').length;
  lines.push('', broken === 0 ? 'Every bound was kept.' : `${broken} bounds were BROKEN.`);
  return lines.join('\n');
}

/** Longest time without a call around each disturbance: after a crash, the take-over. */
function renderCourse({ queues, lostAttempts, longestTargetStallMs }: LimitFigures): string[] {
  const names = Object.keys(queues);
  const disturbances = Object.keys(queues[names[0]!]!.gaps);
  const sum = (field: 'calls' | 'repeats') =>
    names.reduce((total, name) => total + queues[name]![field], 0);
  return [
    ...renderTable([
      ['longest gap around', ...names],
      ...disturbances.map((disturbance) => [
        disturbance,
        ...names.map((name) => `${queues[name]!.gaps[disturbance]!.toFixed(2)} s`),
      ]),
    ]),
    '',
    `${sum('calls')} calls, ${sum('repeats')} of them again after ${lostAttempts} lost attempts; ` +
      `the target itself stalled for ${longestTargetStallMs} ms at most.`,
    ...(longestTargetStallMs > GRACE_MS
      ? [`That is more than the ${GRACE_MS} ms of grace: calls may have come at once for it.`]
      : []),
  ];
}

function renderTable(rows: readonly string[][]): string[] {
  const widths = rows[0]!.map((_, column) => Math.max(...rows.map((row) => row[column]!.length)));
  const rule = widths.map((width) => '─'.repeat(width));
  const [head, ...body] = rows;
  return [head!, rule, ...body].map((row) =>
    row
      .map((cell, column) => cell.padEnd(widths[column]!))
      .join('  ')
      .trimEnd(),
  );
}

function percent(share: number): string {
  return `${(share * 100).toFixed(1)} %`;
}
