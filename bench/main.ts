/**
 * How fast is Errand beside a plain loop of the same signed calls, and beside other queues? One run
 * measures all of them in turn. See README.md.
 */
import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { Cleanup } from '../examples/demo/cleanup.ts';
import { measureDrain } from './figures/drain.ts';
import { measureEnqueue } from './figures/enqueue.ts';
import { measureIdle } from './figures/idle.ts';
import { measureLatency } from './figures/latency.ts';
import { measureSustained } from './figures/sustained.ts';
import { describeMachine } from './machine.ts';
import { type FigureName, type Options, readOptions } from './options.ts';
import { judge } from './reach.ts';
import { report } from './report.ts';
import type { Results } from './results.ts';
import { runBench } from './run.ts';
import type { Bench } from './start.ts';
import type { Say } from './statistics.ts';

const RESULTS = join(import.meta.dirname, 'results');
const LATENCY_SAMPLES = 500;

const options = readOptions();
await runBench(options.rows, async (bench, say, cleanup) => {
  const results = await measure(bench, options, say, cleanup);
  report(results);
  await keep({
    machine: await describeMachine(databaseOf(bench)),
    options,
    ...results,
    reach: judge(results),
  });
});

async function measure(
  bench: Bench,
  { figures, tasks, rounds }: Options,
  say: Say,
  cleanup: Cleanup,
): Promise<Results> {
  const isAsked = (...names: FigureName[]) => names.some((name) => figures.includes(name));
  const plan = { tasks, rounds, say, cleanup };
  // Idle first, when the service has done nothing yet; and the drains after what leaves the tables empty
  // and vacuumed, as those of a service are that has run for long.
  const idle = isAsked('idle') ? await measureIdle(bench, plan) : null;
  const latency = isAsked('latency')
    ? await measureLatency(bench, { samples: LATENCY_SAMPLES, say })
    : null;
  const drain = isAsked('drain', 'batch') ? await measureDrain(bench, plan) : null;
  const sustained = isAsked('sustained') ? await measureSustained(bench, plan) : null;
  const enqueue = isAsked('enqueue') ? await measureEnqueue(bench, plan) : null;
  return { drain, sustained, enqueue, latency, idle, peakMb: await readPeaks(bench) };
}

async function readPeaks({ rows }: Bench): Promise<Results['peakMb']> {
  const peaks = rows.map(async ({ name, meter }) => [name, await meter.peakMb()]);
  return Object.fromEntries(await Promise.all(peaks));
}

function databaseOf({ rows }: Bench) {
  return rows.find(({ meter }) => meter.sql !== null)?.meter.sql ?? null;
}

async function keep(results: object): Promise<void> {
  await mkdir(RESULTS, { recursive: true });
  await writeFile(join(RESULTS, 'bench.json'), `${JSON.stringify(results, null, 2)}\n`);
  console.log(`\nwritten to ${join(RESULTS, 'bench.json')}`);
}
