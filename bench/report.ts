import type { DrainFigures } from './figures/drain.ts';
import type { LatencyFigures, Quantiles } from './figures/latency.ts';
import type { Reading } from './meter.ts';
import { judge } from './reach.ts';
import type { Results } from './results.ts';

type Cells = Record<string, string | number>;

/** Prints a table for each figure, then what is reached of what is to be. */
export function report(results: Results): void {
  const { drain, sustained, enqueue, latency, idle, peakMb } = results;
  if (drain !== null) {
    print('Drain', drainTable(drain, peakMb));
    print('Batch enqueue, 1,000 at a time', batchTable(drain));
  }
  if (sustained !== null) {
    const { clients, rate, plainRate, perTask } = sustained;
    print(`Enqueue over REST by ${clients} clients, and dispatch`, {
      errand: { 'tasks/s': whole(rate), '÷ plain loop': ratio(rate, plainRate), ...costs(perTask) },
    });
  }
  if (enqueue !== null) {
    const { clients, rate, noopRate } = enqueue;
    print(`Single enqueue over REST by ${clients} clients`, {
      'no-op route': { 'requests/s': whole(noopRate), '÷ no-op route': '1.00' },
      errand: { 'requests/s': whole(rate), '÷ no-op route': ratio(rate, noopRate) },
    });
  }
  if (latency !== null)
    print('Idle latency until the first byte, p50 / p99 in ms', latencyTable(latency));
  if (idle !== null) {
    print(`Idle for ${idle.seconds} s`, {
      errand: {
        'statements/s': idle.statementsPerSecond.toFixed(1),
        'CPU %': idle.processPercent.toFixed(2),
        'CPU % of Postgres': idle.databasePercent.toFixed(2),
      },
    });
  }
  print(
    'To reach',
    Object.fromEntries(
      judge(results).map(({ figure, toReach, measured, isMet }) => [
        figure,
        { 'to reach': toReach, measured: measured.toFixed(2), '': isMet ? 'met' : 'NOT MET' },
      ]),
    ),
  );
}

function print(title: string, table: Record<string, Cells>): void {
  if (Object.keys(table).length === 0) return;
  console.log(`\n${title}`);
  console.table(table);
}

function drainTable(drain: DrainFigures, peakMb: Results['peakMb']): Record<string, Cells> {
  const plain = drain['plain-loop']?.drainRate;
  return Object.fromEntries(
    Object.entries(drain).map(([name, { drainRate, perTask }]) => [
      name,
      {
        'tasks/s': whole(drainRate),
        '÷ plain loop': ratio(drainRate, plain),
        ...costs(perTask),
        'peak MB': whole(peakMb[name as keyof typeof peakMb] ?? Number.NaN),
      },
    ]),
  );
}

function batchTable(drain: DrainFigures): Record<string, Cells> {
  const plain = drain['plain-loop']?.drainRate;
  return Object.fromEntries(
    Object.entries(drain)
      .filter(([, { batchRate }]) => batchRate !== null)
      .map(([name, { batchRate }]) => [
        name,
        { 'tasks/s': whole(batchRate!), '÷ plain loop': ratio(batchRate!, plain) },
      ]),
  );
}

function costs({ processSeconds, storeSeconds, walBytes, commits }: Reading): Cells {
  return {
    'CPU µs/task': whole(processSeconds * 1e6),
    'store CPU µs/task': whole(storeSeconds * 1e6),
    'WAL B/task': whole(walBytes),
    'commits/1,000 tasks': (commits * 1000).toFixed(1),
  };
}

function latencyTable(latency: LatencyFigures): Record<string, Cells> {
  return Object.fromEntries(
    Object.entries(latency).map(([name, { fromAcknowledged, fromSent }]) => [
      name,
      { 'from the 201': both(fromAcknowledged), 'from the enqueue': both(fromSent) },
    ]),
  );
}

function both({ p50, p99 }: Quantiles): string {
  return `${p50.toFixed(1)} / ${p99.toFixed(1)}`;
}

function whole(value: number): number {
  return Math.round(value);
}

function ratio(value: number, base: number | undefined): string {
  return base === undefined ? '' : (value / base).toFixed(2);
}
