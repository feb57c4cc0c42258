import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import type { Cleanup } from '../examples/demo/cleanup.ts';
import { startEmbeddedPostgres } from '../src/embedded/embedded-postgres.ts';
import { type Child, type Remote, startChild } from './child.ts';
import { type Meter, openMeter } from './meter.ts';
import { installPeers } from './peers.ts';
import { type Redis, startRedis } from './redis.ts';
import type { RowName, RowSettings, RowVerbs } from './row.ts';
import { type ErrandRow, startErrand } from './rows/errand.ts';
import type { Say } from './statistics.ts';
import type { TargetVerbs } from './target.ts';

export interface Target extends Child<TargetVerbs> {
  url: string;
}

/** A row that is up: what it can be asked for, and what that costs. */
export interface Row {
  name: RowName;
  pid: number;
  ask: Remote<RowVerbs>;
  hasQueue: boolean;
  meter: Meter;
}

/** Everything that runs. */
export interface Bench {
  /** For what else is kept; it goes at the end. Database users can enter it. */
  folder: string;
  target: Target;
  rows: Row[];
  /** Errand's own, beyond what every row can do; null when it is not among the rows. */
  errand: ErrandRow | null;
}

const LOOPS: readonly RowName[] = ['plain-loop', 'fast-loop'];
const ON_POSTGRES: readonly RowName[] = ['graphile-worker', 'pg-boss'];

/** Starts the rows and what they need in `folder`, which database users must be able to enter. */
export async function startBench(
  names: readonly RowName[],
  folder: string,
  say: Say,
  cleanup: Cleanup,
): Promise<Bench> {
  if (names.some((name) => isPeer(name))) await installPeers(say);
  const target = await startTarget(cleanup);
  const stores = await startStores(names, folder, say, cleanup);
  const bench: Bench = { folder, target, rows: [], errand: null };
  for (const name of names) {
    if (name === 'bullmq' && stores.redis === null) continue;
    say(`starting ${name}`);
    if (name === 'errand') {
      bench.errand = await startErrand(join(folder, name), target, cleanup);
      const meter = await openMeter(bench.errand, cleanup);
      bench.rows.push({ name, pid: bench.errand.pid, ask: bench.errand, hasQueue: true, meter });
    } else {
      bench.rows.push(await startRow(name, target, stores, cleanup));
    }
  }
  return bench;
}

function isPeer(name: RowName): boolean {
  return name !== 'errand' && !LOOPS.includes(name);
}

/** Of the peers; each where a row needs it. */
interface Stores {
  databaseUrl: string | null;
  redis: Redis | null;
}

async function startStores(
  names: readonly RowName[],
  folder: string,
  say: Say,
  cleanup: Cleanup,
): Promise<Stores> {
  const stores: Stores = { databaseUrl: null, redis: null };
  if (names.some((name) => ON_POSTGRES.includes(name))) {
    say('starting a Postgres for the peers');
    stores.databaseUrl = await startPostgres(join(folder, 'peers'), cleanup);
  }
  if (names.includes('bullmq')) stores.redis = await startRedis(say, cleanup);
  return stores;
}

/** Each row but Errand is a process of ours. */
async function startRow(
  name: RowName,
  target: Target,
  { databaseUrl, redis }: Stores,
  cleanup: Cleanup,
): Promise<Row> {
  const settings: RowSettings = {
    targetUrl: target.url,
    databaseUrl: ON_POSTGRES.includes(name) ? databaseUrl : null,
    redisPort: redis?.port ?? null,
  };
  const args = [name, JSON.stringify(settings)];
  const { pid, ask } = await startChild<RowVerbs>('./row-process.ts', args, cleanup);
  const storePid = name === 'bullmq' ? redis?.pid : undefined;
  const meter = await openMeter({ pid, databaseUrl: settings.databaseUrl, storePid }, cleanup);
  return { name, pid, ask, hasQueue: isPeer(name), meter };
}

async function startTarget(cleanup: Cleanup): Promise<Target> {
  const child = await startChild<TargetVerbs>('./target.ts', [], cleanup);
  return { ...child, url: await child.ask.url() };
}

/** The same build and settings as the service's own. */
async function startPostgres(folder: string, cleanup: Cleanup): Promise<string> {
  await mkdir(folder, { mode: 0o755 });
  const starting = startEmbeddedPostgres({ dataDir: folder });
  // Also when it is interrupted while it starts: its folder must not go before it. Whether it did
  // start is told below.
  cleanup.add(async () => (await starting.catch(() => null))?.stop());
  return (await starting).url;
}
