/**
 * `npm audit` as a step of the gate: findings of level high and above fail it. Not every registry has
 * the endpoint; where it is missing or away that is said, and the gate goes on.
 */
import { spawnSync } from 'node:child_process';

export interface Verdict {
  isGood: boolean;
  text: string;
}

const FAILING = ['high', 'critical'] as const;

/** What follows from the output of `npm audit --json`. */
export function judgeAudit(output: string): Verdict {
  const counts = parse(output)?.metadata?.vulnerabilities;
  if (counts === undefined) {
    return { isGood: true, text: 'npm audit: the registry does not offer it here; not checked' };
  }
  const found = Object.entries(counts).filter(([level, count]) => level !== 'total' && count > 0);
  const list = found.map(([level, count]) => `${count} ${level}`).join(', ') || 'nothing';
  const isGood = FAILING.every((level) => (counts[level] ?? 0) === 0);
  return { isGood, text: `npm audit: found ${list}${isGood ? '' : '; see `npm audit`'}` };
}

interface Report {
  metadata?: { vulnerabilities?: Record<string, number> };
}

function parse(output: string): Report | null {
  try {
    return JSON.parse(output);
  } catch {
    return null; // Without the endpoint there may be no report at all.
  }
}

if (import.meta.main) {
  const { stdout } = spawnSync('npm', ['audit', '--json'], { encoding: 'utf8' });
  const { isGood, text } = judgeAudit(stdout ?? '');
  process.stdout.write(`${text}\n`);
  process.exitCode = isGood ? 0 : 1;
}
