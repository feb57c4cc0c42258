/**
 * Are the limits exact as seen at the target? Four dispatchers serve queues with more work than they may
 * do, while one of them is killed, one is frozen and woken, one joins and one leaves. See README.md.
 */
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { type Cluster, startCluster, startTarget, type Target } from './limits/cluster.ts';
import { type Course, disturb, leastSeconds } from './limits/disturbances.ts';
import { findBroken, judgeQueue, percent, type QueueFigures } from './limits/judgement.ts';
import { describeMachine } from './limits/machine.ts';
import { type ManyQueues, measureManyQueues } from './limits/many-queues.ts';
import { fillMeasuredQueues, MEASURED } from './limits/measured-queues.ts';

const DISPATCHERS = 4;
const RESULTS = join(import.meta.dirname, 'results');

const { values } = parseArgs({
  options: {
    seconds: { type: 'string', default: '75' },
    takeover: { type: 'string', default: '10' },
    only: { type: 'string' },
    keep: { type: 'boolean', default: false },
  },
});
if (!['limits', 'many', undefined].includes(values.only)) {
  throw new Error(`--only must be limits or many, got ${values.only}`);
}
const seconds = Number(values.seconds);
const takeoverSeconds = Number(values.takeover);
if (!(seconds >= leastSeconds(takeoverSeconds))) {
  throw new Error(
    `--seconds must be ${leastSeconds(takeoverSeconds)} or more at a take-over time of ` +
      `${takeoverSeconds} s (--takeover, from 2), got ${values.seconds}`,
  );
}

const startedMs = performance.now();
const say = (line: string) =>
  console.log(`${((performance.now() - startedMs) / 1000).toFixed(1).padStart(6)} s  ${line}`);

const folder = await mkdtemp(join(tmpdir(), 'errand-limits-'));
const target = await startTarget();
const cluster = await startCluster(folder, takeoverSeconds);
try {
  const pids: number[] = [];
  for (let n = 0; n < DISPATCHERS; n += 1) pids.push(await cluster.startDispatcher());
  say(`${DISPATCHERS} dispatchers are up: ${pids.join(', ')}`);
  const limits = values.only === 'many' ? null : await measureLimits(cluster, target);
  while (cluster.dispatchers().length < DISPATCHERS) await cluster.startDispatcher();
  const many =
    values.only === 'limits'
      ? null
      : await measureManyQueues(cluster, target, { idleSeconds: Math.min(10, seconds / 5), say });
  const broken = findBroken(limits?.queues ?? {}, many);
  report(limits, many, broken);
  await keep({
    machine: await describeMachine(cluster.sql),
    seconds,
    takeoverSeconds,
    limits,
    many,
  });
  if (broken.length > 0) process.exitCode = 1;
} finally {
  await cluster.stop();
  target.stop();
  if (values.keep) say(`logs are in ${folder}`);
  else await rm(folder, { recursive: true, force: true });
}

interface Limits {
  queues: Record<string, QueueFigures>;
  lostAttempts: number;
  longestTargetStallMs: number;
}

async function measureLimits({ sql, client }: Cluster, { url }: Target): Promise<Limits> {
  say('filling the queues');
  await fillMeasuredQueues(cluster, url, seconds);
  const course: Course = await disturb(cluster, { seconds, takeoverSeconds, say });
  const sighting = await target.sighting();
  const [row] = await sql<{ lost: number }[]>`
    select count(*)::integer as lost from errand.attempt where outcome = 'lost'`;
  for (const queue of Object.keys(MEASURED)) await client.queues.delete(queue, { force: true });
  return {
    queues: Object.fromEntries(
      Object.keys(MEASURED).map((queue) => [queue, judgeQueue(queue, sighting, course)]),
    ),
    lostAttempts: row!.lost,
    longestTargetStallMs: Math.round(sighting.longestStallMs),
  };
}

function report(limits: Limits | null, many: ManyQueues | null, broken: string[]): void {
  for (const [queue, figures] of Object.entries(limits?.queues ?? {})) {
    const { windows, calls, mostInFlight, allowedInFlight, repeats, staleRepeats } = figures;
    console.log(`\n${queue}: ${calls} calls`);
    if (windows !== null) {
      console.table(
        Object.fromEntries(
          Object.entries(windows).map(([s, { most, allowed }]) => [
            `any ${s}`,
            { most, allowed: Math.floor(allowed), verdict: most <= allowed ? 'kept' : 'BROKEN' },
          ]),
        ),
      );
    }
    console.log(`  most in flight ${mostInFlight}, allowed ${allowedInFlight ?? 'any'}`);
    if (figures.utilisation !== null)
      console.log(`  rate used while nothing happened: ${percent(figures.utilisation)}`);
    console.log(`  called again: ${repeats}, of them stale: ${staleRepeats}`);
    for (const [name, gap] of Object.entries(figures.gaps))
      console.log(`  longest gap around ${name}: ${gap.toFixed(2)} s`);
  }
  if (limits !== null)
    console.log(
      `\nlost attempts ${limits.lostAttempts}; the target itself stalled ${limits.longestTargetStallMs} ms at most`,
    );
  if (many !== null) console.table({ 'many queues': many });
  console.log(
    broken.length === 0 ? '\nevery bound was kept' : `\nBROKEN\n  ${broken.join('\n  ')}`,
  );
}

async function keep(results: object): Promise<void> {
  await mkdir(RESULTS, { recursive: true });
  await writeFile(join(RESULTS, 'limits.json'), `${JSON.stringify(results, null, 2)}\n`);
}
