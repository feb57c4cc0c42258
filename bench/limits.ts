/**
 * Are the limits exact as seen at the target? Four dispatchers serve queues with more work than they may
 * do, while one of them is killed, one is frozen and woken, one joins, one leaves and limits are changed.
 * See README.md.
 */
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { type Cluster, startCluster, startTarget, type Target } from './limits/cluster.ts';
import { disturb, leastSeconds } from './limits/disturbances.ts';
import { judgeManyQueues, judgeQueue, judgeStaleCalls } from './limits/judgement.ts';
import { describeMachine } from './machine.ts';
import { measureManyQueues } from './limits/many-queues.ts';
import { fillMeasuredQueues, MEASURED } from './limits/measured-queues.ts';
import { drawCourse } from './limits/picture.ts';
import { type LimitFigures, renderReport } from './limits/report.ts';

const DISPATCHERS = 4;
const RESULTS = join(import.meta.dirname, 'results');

const { values } = parseArgs({
  options: {
    seconds: { type: 'string', default: '85' },
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
  const findings = [
    ...Object.values(limits?.queues ?? {}).flatMap((queue) => queue.findings),
    ...(limits === null ? [] : [judgeStaleCalls(limits.queues)]),
    ...(many === null ? [] : judgeManyQueues(many)),
  ];
  console.log(`\n${renderReport(findings, limits)}`);
  const machine = await describeMachine(cluster.sql);
  await keep(
    'limits.json',
    JSON.stringify({ machine, seconds, takeoverSeconds, limits, many }, null, 2),
  );
  if (findings.some(({ verdict }) => verdict !== 'kept')) process.exitCode = 1;
} finally {
  await cluster.stop();
  target.stop();
  if (values.keep) say(`logs are in ${folder}`);
  else await rm(folder, { recursive: true, force: true });
}

async function measureLimits({ sql, client }: Cluster, { url }: Target): Promise<LimitFigures> {
  say('filling the queues');
  await fillMeasuredQueues(cluster, url, seconds);
  const course = await disturb(cluster, { seconds, takeoverSeconds, say });
  const sighting = await target.sighting();
  const [row] = await sql<{ lost: number }[]>`
    select count(*)::integer as lost from errand.attempt where outcome = 'lost'`;
  await keep('limits.svg', drawCourse(course, sighting.arrivals));
  const names = Object.keys(MEASURED);
  for (const name of names) await client.queues.delete(name, { force: true });
  return {
    queues: Object.fromEntries(names.map((name) => [name, judgeQueue(name, sighting, course)])),
    lostAttempts: row!.lost,
    longestTargetStallMs: Math.round(sighting.longestStallMs),
  };
}

async function keep(name: string, text: string): Promise<void> {
  await mkdir(RESULTS, { recursive: true });
  await writeFile(join(RESULTS, name), `${text}\n`);
}
