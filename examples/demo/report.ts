import type { Attempt, ErrandClient, Task } from 'errand/client';
import type { Checksums } from './checksum.ts';
import { QUEUE, type Seen } from './messages.ts';
import { quantile } from './probe.ts';
import type { Result } from './results.ts';

/** Where the gathered checksums and those of a straight run differ: paths, or nothing. */
export interface Difference {
  missing: string[];
  unexpected: string[];
  changed: string[];
  /** Directories that are in the result more than once. */
  countedTwice: string[];
}

export function compare(gathered: readonly Result[], straight: Checksums): Difference {
  const found: Checksums = Object.assign({}, ...gathered.map((result) => result.checksums));
  const names = gathered.map((result) => result.directory);
  return {
    missing: Object.keys(straight).filter((path) => !(path in found)),
    unexpected: Object.keys(found).filter((path) => !(path in straight)),
    changed: Object.keys(found).filter(
      (path) => path in straight && found[path] !== straight[path],
    ),
    countedTwice: names.filter((name, i) => names.indexOf(name) !== i),
  };
}

export function isEqual(difference: Difference): boolean {
  return Object.values(difference).every((paths) => paths.length === 0);
}

/** What the service's own records say. */
export interface Totals {
  tasks: number;
  attempts: number;
  retries: number;
  /** Tasks that did not succeed. */
  unsuccessful: Task[];
}

/** Each step of the walk counts as a task here: it is one that the walk enqueued. */
export async function readTotals(client: ErrandClient, walk: Task): Promise<Totals> {
  const totals: Totals = { tasks: walk.step, attempts: 0, retries: 0, unsuccessful: [] };
  for await (const task of client.list({ queue: QUEUE, limit: 200 })) {
    totals.tasks++;
    if (task.id !== walk.id) totals.attempts += task.attempts;
    if (task.state !== 'succeeded') totals.unsuccessful.push(task);
  }
  const ofWalk: Attempt[] = [];
  for await (const attempt of client.attempts(walk.id)) ofWalk.push(attempt);
  totals.attempts += ofWalk.length;
  totals.retries = totals.attempts - totals.tasks;
  return totals;
}

export interface Figures {
  totals: Totals;
  seen: Seen;
  seconds: number;
  latencies: readonly number[];
}

/** The table at the end: label, value, and what there is to say about it. */
export function renderFigures({ totals, seen, seconds, latencies }: Figures): string {
  const { 'status-500': refused, timeout, dropped } = seen.faults;
  const ms = (share: number) => `${quantile(latencies, share).toFixed(1)} ms`;
  const probe = `201 → first byte at the worker; ${latencies.length} single tasks on an idle queue`;
  return renderTable([
    ['Tasks', number(totals.tasks), 'one a directory, and the steps of the walk'],
    ['Attempts', number(totals.attempts), `calls that the worker saw: ${number(seen.calls)}`],
    [
      'Retries',
      number(totals.retries),
      `failed on purpose: ${refused} status 500, ${timeout} timed out, ${dropped} dropped`,
    ],
    ['Seconds', seconds.toFixed(1), 'from the first task to the last'],
    ['Tasks per second', number(Math.round(totals.tasks / seconds)), ''],
    ['Latency p50', ms(0.5), probe],
    ['Latency p99', ms(0.99), ''],
  ]);
}

function renderTable(rows: readonly [string, string, string][]): string {
  const width = (column: 0 | 1) => Math.max(...rows.map((row) => row[column].length));
  const [labels, values] = [width(0), width(1)];
  return rows
    .map(
      ([label, value, note]) => `  ${label.padEnd(labels)}   ${value.padStart(values)}   ${note}`,
    )
    .map((line) => line.trimEnd())
    .join('\n');
}

/** With the decimal marks that English has, whatever the machine's language. */
export function number(value: number): string {
  return value.toLocaleString('en-US');
}

const MOST_PATHS = 10;

/** The difference in words, a line a path, for at most ten of each kind. */
export function renderDifference(difference: Difference): string {
  const lines = Object.entries(difference).flatMap(([kind, paths]: [string, string[]]) => {
    const more = paths.length - MOST_PATHS;
    const shown = paths.slice(0, MOST_PATHS).map((path) => `  ${kind}: ${path}`);
    return more > 0 ? [...shown, `  ${kind}: and ${number(more)} more`] : shown;
  });
  return lines.join('\n');
}
