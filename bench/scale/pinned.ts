import { setTimeout as pause } from 'node:timers/promises';
import { connect } from '../../src/store/database.ts';
import { quantile } from '../statistics.ts';
import { QUEUE } from '../work.ts';
import type { Options } from './options.ts';
import { probe } from './probe.ts';
import { busyShareSince, readProcessors } from './processors.ts';
import type { Point, Series } from './series.ts';
import { measurePoint, PROBED, type System, withSystem } from './system.ts';

const TASKS_PER_SECOND = 2_000;
const BATCH = 100;
const WINDOWS = 10;
const BASE_WINDOWS = 2;
const MOST_WINDOW_SECONDS = 60;
/** Between two looks at the clock. */
const PROBES = 20;

/** A system that works at a steady rate, without and with an idle transaction that pins the xmin horizon. */
export interface Pinned {
  minutes: number;
  /** Of the windows, each a tenth of the minutes: calls that came of those enqueued, and p99 beside them. */
  without: Window[];
  with: Window[];
  /** Full drains before the transaction began, and when it had idled for the minutes. */
  before: Point;
  after: Point;
}

export interface Window {
  minute: number;
  tasksPerSecond: number;
  p99Ms: number;
}

export async function measurePinned(options: Options): Promise<{ series: Series; pinned: Pinned }> {
  return withSystem(options, async (system) => {
    const { minutes } = options;
    const windowSeconds = Math.min(MOST_WINDOW_SECONDS, (minutes * 60) / WINDOWS);
    const windows = Math.round((minutes * 60) / windowSeconds);
    const run = { system, windowSeconds };
    const before = await measurePoint(system, 0, options);
    await system.errand.client.queues.resume(QUEUE);
    const without = await runWindows({ ...run, windows: BASE_WINDOWS });
    const release = await pinHorizon(system);
    const withPin = await runWindows({ ...run, windows });
    const after = await measurePoint(system, minutes, options);
    await release();
    return {
      series: {
        title: `Minutes at ${TASKS_PER_SECOND}/s beside an idle transaction`,
        unit: 'minutes',
        isLogarithmic: false,
        ideal: 'flat',
        points: withPin.map(({ minute, ...window }) => ({ x: minute, ...window })),
      },
      pinned: { minutes, without, with: withPin, before, after },
    };
  });
}

interface Run {
  system: System;
  windowSeconds: number;
  windows: number;
}

async function runWindows({ system, windowSeconds, windows }: Run) {
  const found: (Window & { busyShare: number })[] = [];
  for (let window = 1; window <= windows; window += 1) {
    const figures = await runWindow(system, windowSeconds);
    const minute = (window * windowSeconds) / 60;
    system.say(
      `  minute ${minute.toFixed(1)}: ${Math.round(figures.tasksPerSecond)}/s, p99 ${figures.p99Ms.toFixed(1)} ms`,
    );
    found.push({ minute, ...figures });
  }
  return found;
}

async function runWindow(system: System, seconds: number) {
  const { target } = system;
  const pacer = startPacer(system);
  const before = readProcessors();
  const startMs = performance.now();
  const firstCall = await target.ask.count();
  const latencies: number[] = [];
  while (performance.now() - startMs < seconds * 1000) {
    latencies.push(
      ...(await probe({ target, load: system.errand.load }, { queues: [PROBED], samples: PROBES })),
    );
  }
  const calls = (await target.ask.count()) - firstCall;
  const busyShare = busyShareSince(before);
  const tookSeconds = (performance.now() - startMs) / 1000;
  await pacer.stop();
  return {
    tasksPerSecond: (calls - latencies.length) / tookSeconds,
    p99Ms: quantile(latencies, 0.99),
    busyShare,
  };
}

/** Enqueues at a steady rate; what could not be sent in time is made good. */
function startPacer({ errand }: System) {
  const startMs = performance.now();
  let isStopped = false;
  let enqueued = 0;
  const running = (async () => {
    while (!isStopped) {
      await errand.load.batches(QUEUE, BATCH);
      enqueued += BATCH;
      const dueMs = startMs + (enqueued / TASKS_PER_SECOND) * 1000;
      await pause(Math.max(0, dueMs - performance.now()));
    }
  })();
  running.catch(() => {}); // It is told by stop().
  return {
    stop() {
      isStopped = true;
      return running;
    },
  };
}

/** Begins a transaction that looks on and does nothing more: no row that dies from here on can be removed. */
async function pinHorizon({ errand, cleanup }: System): Promise<() => Promise<void>> {
  const options = { url: errand.databaseUrl, connections: 1, name: 'bench idle' };
  const sql = connect(options);
  cleanup.add(() => sql.end({ timeout: 1 }));
  // Of one connection, so that what follows goes to the same.
  await sql`begin isolation level repeatable read`;
  await sql`select count(*) from errand.queue`;
  return async () => {
    await sql`rollback`;
  };
}
