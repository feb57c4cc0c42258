import type { Everything } from './history.ts';
import type { Pinned } from './pinned.ts';
import { type Series, shareOfIdeal } from './series.ts';

/** What is within this share of the ideal counts as such. */
const LEAST_SHARE = 0.95;

/** A table for one series, for the terminal. */
export function renderSeries(series: Series): string {
  const rows = series.points.map((point) => [
    compact(point.x),
    String(Math.round(point.tasksPerSecond)),
    shareOfIdeal(series, point).toFixed(2),
    point.p99Ms.toFixed(1),
    `${Math.round(point.busyShare * 100)} %`,
  ]);
  const head = [series.unit, 'tasks/s', `÷ ${series.ideal}`, 'p99 ms', 'processors'];
  return `\n${series.title} — ${verdict(series)}\n${table([head, ...rows])}`;
}

export function verdict(series: Series): string {
  const least = Math.min(...series.points.map((point) => shareOfIdeal(series, point)));
  return least >= LEAST_SHARE ? series.ideal : `down to ${least.toFixed(2)} of ${series.ideal}`;
}

export function renderEverything({ ready, scheduled, finished, empty, full }: Everything): string {
  const ratio = full.tasksPerSecond / empty.tasksPerSecond;
  return (
    `\ndrain beside ${compact(ready)} ready, ${compact(scheduled)} scheduled and ` +
    `${compact(finished)} finished ÷ drain of an empty system: ${ratio.toFixed(2)} ` +
    `(${Math.round(full.tasksPerSecond)}/s ÷ ${Math.round(empty.tasksPerSecond)}/s; ` +
    `p99 ${full.p99Ms.toFixed(1)} and ${empty.p99Ms.toFixed(1)} ms)`
  );
}

export function renderPinned({ minutes, without, with: windows, before, after }: Pinned): string {
  const rate =
    mean(windows.map((w) => w.tasksPerSecond)) / mean(without.map((w) => w.tasksPerSecond));
  const drain = after.tasksPerSecond / before.tasksPerSecond;
  const half = Math.ceil(windows.length / 2);
  const p99 = (from: number, to?: number) =>
    mean(windows.slice(from, to).map((window) => window.p99Ms)).toFixed(1);
  return (
    `\n${minutes} minutes beside an idle transaction ÷ without: ${rate.toFixed(2)} of the rate; ` +
    `p99 ${p99(0, half)} ms in the first half and ${p99(half)} ms in the second, ` +
    `${mean(without.map((w) => w.p99Ms)).toFixed(1)} ms without; ` +
    `a full drain at its end ÷ before it: ${drain.toFixed(2)}`
  );
}

/** 1000 as 1e3, where that is shorter. */
export function compact(value: number): string {
  const exponent = Math.log10(value);
  return value >= 1000 && Number.isInteger(exponent)
    ? `1e${exponent}`
    : String(Math.round(value * 10) / 10);
}

function table(rows: string[][]): string {
  const widths = rows[0]!.map((_, at) => Math.max(...rows.map((row) => row[at]!.length)));
  return rows.map((row) => row.map((cell, at) => cell.padStart(widths[at]!)).join('  ')).join('\n');
}

function mean(values: number[]): number {
  return values.reduce((sum, value) => sum + value, 0) / values.length;
}
