/**
 * Does speed depend on how much there is? Drains and single tasks, while one quantity after another
 * grows: backlog, history, queues, payload, dispatchers, and dead rows that nobody may remove. See
 * README.md.
 */
import { mkdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describeMachine, type Machine } from './machine.ts';
import { measureBacklog } from './scale/backlog.ts';
import { drawSeries } from './scale/chart.ts';
import { measureDispatchers } from './scale/dispatchers.ts';
import { type Everything, measureHistory } from './scale/history.ts';
import { fitToDisk, type Options, readOptions, type SectionName } from './scale/options.ts';
import { measurePayload } from './scale/payload.ts';
import { measurePinned, type Pinned } from './scale/pinned.ts';
import { measureQueues } from './scale/queues.ts';
import { renderEverything, renderPinned, renderSeries } from './scale/report.ts';
import type { Series } from './scale/series.ts';

interface Results {
  series: Partial<Record<SectionName, Series>>;
  everything?: Everything;
  pinned?: Pinned;
}

const RESULTS = join(import.meta.dirname, 'results');

const asked = readOptions();
const options = { ...asked, largest: await fitToDisk(asked.largest, console.log) };
const results: Results = { series: {} };
for (const section of options.sections) {
  console.log(`\n${section}`);
  await measure(section, options);
}
report(results);
await keep(results, await describeMachine(null));

async function measure(section: SectionName, options: Options): Promise<void> {
  results.series[section] = await measureSeries(section, options);
}

async function measureSeries(section: SectionName, options: Options): Promise<Series> {
  switch (section) {
    case 'backlog':
      return measureBacklog(options);
    case 'history': {
      const { series, everything } = await measureHistory(options);
      results.everything = everything;
      return series;
    }
    case 'queues':
      return measureQueues(options);
    case 'payload':
      return measurePayload(options);
    case 'dispatchers':
      return measureDispatchers(options);
    case 'pinned': {
      const { series, pinned } = await measurePinned(options);
      results.pinned = pinned;
      return series;
    }
  }
}

function report({ series, everything, pinned }: Results): void {
  for (const one of Object.values(series)) console.log(renderSeries(one));
  if (everything !== undefined) console.log(renderEverything(everything));
  if (pinned !== undefined) console.log(renderPinned(pinned));
}

/** What was not measured stays as an earlier run has left it. */
async function keep(results: Results, machine: Machine): Promise<void> {
  await mkdir(RESULTS, { recursive: true });
  const kept: Results = await readResults();
  const series = { ...kept.series, ...results.series };
  const text = JSON.stringify({ ...kept, machine, options, ...results, series }, null, 2);
  await writeFile(join(RESULTS, 'scale.json'), `${text}\n`);
  await writeFile(join(RESULTS, 'scale.svg'), `${drawSeries(Object.values(series))}\n`);
  console.log(`\nwritten to ${join(RESULTS, 'scale.json')} and scale.svg`);
}

async function readResults(): Promise<Results> {
  const text = await readFile(join(RESULTS, 'scale.json'), 'utf8').catch(() => '{"series":{}}');
  return JSON.parse(text) as Results;
}
