/**
 * The demo: checksums of every file under node_modules, one task a directory, through a service and a
 * worker that are processes of their own; some calls fail on purpose, and the result is compared with
 * that of a plain loop.
 */
import { resolve } from 'node:path';
import { parseArgs } from 'node:util';
import type { Task } from 'errand/client';
import { checksumStraight } from './checksum.ts';
import { createCleanup } from './cleanup.ts';
import { type Demo, openDemo, startWalk, untilDrained } from './demo.ts';
import { probeLatency } from './probe.ts';
import { createProgress } from './progress.ts';
import { compare, isEqual, number, readTotals, renderDifference, renderFigures } from './report.ts';
import { readResults } from './results.ts';
import { directoryOf, walkFiles } from './walk.ts';

const USAGE = `npm run demo -- [--dir <directory>] [--keep]

  --dir   walk this directory (default: node_modules)
  --keep  leave the service and the worker running at the end, until Ctrl-C
`;
const PROBES = 200;

const cleanup = createCleanup();
let isInterrupted = false;
for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.on(signal, interrupted);
try {
  process.exitCode = await main();
} catch (error) {
  // What fails while everything is being stopped is no news.
  if (!isInterrupted) throw error;
} finally {
  await cleanup.run();
}

async function main(): Promise<number> {
  const { values } = parseArgs({
    options: {
      dir: { type: 'string', default: resolve(import.meta.dirname, '../../node_modules') },
      keep: { type: 'boolean', default: false },
      help: { type: 'boolean', default: false },
    },
  });
  if (values.help) return say(USAGE);
  const root = resolve(values.dir);
  const size = await measure(root);
  say(`\n  Errand demo: the checksum of every file in ${root}`);
  say(
    `  ${number(size.files)} files, one task for each of ${number(size.directories)} directories\n`,
  );

  const demo = await openDemo(root, cleanup);
  say(`  service  ${demo.service.url}  (process ${demo.service.pid()}, embedded Postgres)`);
  say(`  worker   ${demo.worker.url}  (process ${demo.worker.pid})\n`);

  const started = performance.now();
  const walk = await showing(demo, size, async () => untilDrained(demo, await startWalk(demo)));
  const seconds = (performance.now() - started) / 1000;
  const exitCode = await report(demo, root, walk, seconds);
  if (values.keep) await keep(demo);
  return exitCode;
}

interface Size {
  files: number;
  directories: number;
}

async function measure(root: string): Promise<Size> {
  const directories = new Set<string>();
  let files = 0;
  for await (const path of walkFiles(root)) {
    directories.add(directoryOf(path));
    files++;
  }
  return { files, directories: directories.size };
}

/** Shows how far it is while `work` goes on. */
async function showing<T>(demo: Demo, size: Size, work: () => Promise<T>): Promise<T> {
  const progress = createProgress(process.stdout);
  const update = (): void => {
    if (isInterrupted) return;
    const { files, directories, faults, calls } = demo.worker.seen();
    const failed = Object.values(faults).reduce((sum, count) => sum + count, 0);
    const parts = [
      `${number(files)} of ${number(size.files)} files`,
      `${number(directories)} directories`,
      `${number(calls)} calls`,
      `${failed} made to fail`,
    ];
    progress.update({ done: files, total: size.files, text: parts.join(' · ') });
  };
  const timer = setInterval(update, 100);
  try {
    const result = await work();
    await demo.worker.news();
    update();
    return result;
  } finally {
    clearInterval(timer);
    if (!isInterrupted) progress.end();
  }
}

async function report(demo: Demo, root: string, walk: Task, seconds: number): Promise<number> {
  const latencies = await probeLatency(demo, PROBES);
  const totals = await readTotals(demo.client, walk);
  const seen = demo.worker.seen();
  say(`\n${renderFigures({ totals, seen, seconds, latencies })}\n`);

  const difference = compare(await readResults(demo.resultsFile), await checksumStraight(root));
  for (const { id, state, reason } of totals.unsuccessful) say(`  task ${id} ${state}: ${reason}`);
  if (!isEqual(difference) || totals.unsuccessful.length > 0) {
    say(`  DIFFERENT from a straight run:\n${renderDifference(difference)}\n`);
    return 1;
  }
  say(`  Equal to a straight run: ${number(seen.files)} checksums, nothing missing, nothing`);
  say(`  counted twice (worked on again after a lost answer: ${seen.repeated} directories).\n`);
  return 0;
}

async function keep({ service, worker, folder }: Demo): Promise<void> {
  say('  Everything is left running, until Ctrl-C:\n');
  say(`    service    ${service.url}  (docs at ${service.url}/docs)`);
  say(`    worker     ${worker.url}`);
  say(`    admin key  ${service.key}`);
  say(`    data       ${folder}\n`);
  await new Promise(() => {}); // The signal's handler ends it.
}

/** Ctrl-C under npm comes twice: from the terminal, and passed on by npm. */
async function interrupted(): Promise<void> {
  if (isInterrupted) return;
  isInterrupted = true;
  say('\n  Stopping …');
  await cleanup.run();
  process.exit(130);
}

function say(text: string): number {
  process.stdout.write(`${text}\n`);
  return 0;
}
