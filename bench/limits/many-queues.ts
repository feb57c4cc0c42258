import { setTimeout as pause } from 'node:timers/promises';
import { SHARDS } from '../../src/model.ts';
import { enqueueTasks } from '../../src/store/enqueue.ts';
import { newTask } from '../../test/support/new-task.ts';
import type { Cluster, Target } from './cluster.ts';
import { processorSeconds } from '../machine.ts';
import { monotonicMs } from './sighting.ts';

const QUEUES = 10_000;
const BATCH = 1_000;
const GIVE_UP_MS = 60_000;
/** A session tells what it did about once a second, so the work of before is waited for. */
const STATISTICS_LAG_MS = 2_000;

export interface ManyQueues {
  queues: number;
  /** A task in each queue, twice: queues that no dispatcher had met before, and once more. */
  first: Round;
  again: Round;
  dispatchers: number;
  /** With nothing to do, per dispatcher. */
  idleStatementsPerSecond: number;
  /** Share of one processor, per dispatcher. */
  idleProcessorShare: number | null;
}

export interface Round {
  /** From the commit of a task in each queue until the last has arrived at the target. */
  seconds: number;
  arrivals: number;
}

/** Ten thousand queues: how long a task in each takes, and what they cost while there is none. */
export async function measureManyQueues(
  cluster: Cluster,
  target: Target,
  { idleSeconds, say }: { idleSeconds: number; say: (line: string) => void },
): Promise<ManyQueues> {
  const queues = await createQueues(cluster);
  say(`${QUEUES} queues are there, looking on idly for ${idleSeconds} s`);
  const idle = await measureIdle(cluster, idleSeconds);
  const first = await measureRound(cluster, target, queues);
  say(`a task in each was called in ${first.seconds.toFixed(1)} s, now another one`);
  const again = await measureRound(cluster, target, queues);
  return { queues: QUEUES, first, again, dispatchers: cluster.dispatchers().length, ...idle };
}

async function measureRound(cluster: Cluster, target: Target, queues: Queue[]): Promise<Round> {
  target.forget();
  const committedMs = await enqueueOneEach(cluster, queues, `${target.url}/many`);
  const { arrivals } = await allArrived(target, committedMs + GIVE_UP_MS);
  const lastMs = Math.max(committedMs, ...arrivals.map(({ atMs }) => atMs));
  return { seconds: (lastMs - committedMs) / 1000, arrivals: arrivals.length };
}

interface Queue {
  id: number;
  shard: number;
}

async function createQueues({ sql }: Cluster): Promise<Queue[]> {
  return sql<Queue[]>`
    insert into errand.queue (project, name, shard)
    select 'default', 'many-' || n, n % ${SHARDS}::integer from generate_series(1, ${QUEUES}::integer) n
    returning id, shard`;
}

/** In one transaction, so that all of them are there at once; returns when they are. */
async function enqueueOneEach({ sql }: Cluster, queues: Queue[], url: string): Promise<number> {
  const connection = await sql.reserve();
  await connection`begin`;
  for (let from = 0; from < queues.length; from += BATCH) {
    const tasks = queues
      .slice(from, from + BATCH)
      .map(({ id, shard }) => newTask({ shard, queue: id, url }));
    await enqueueTasks(connection, tasks);
  }
  await connection`commit`;
  connection.release();
  return monotonicMs();
}

async function allArrived(target: Target, endMs: number) {
  for (;;) {
    const sighting = await target.sighting();
    if (sighting.arrivals.length >= QUEUES || monotonicMs() > endMs) return sighting;
    await pause(200);
  }
}

async function measureIdle(cluster: Cluster, seconds: number) {
  const pids = cluster.dispatchers();
  await pause(STATISTICS_LAG_MS);
  const before = await lookAt(cluster, pids);
  await pause(seconds * 1000);
  const after = await lookAt(cluster, pids);
  const perDispatcher = ((after.atMs - before.atMs) / 1000) * pids.length;
  return {
    idleStatementsPerSecond: (after.statements - before.statements) / perDispatcher,
    idleProcessorShare:
      before.processor === null || after.processor === null
        ? null
        : (after.processor - before.processor) / perDispatcher,
  };
}

/** Each statement is a transaction of its own. */
async function lookAt({ sql }: Cluster, pids: number[]) {
  const [row] = await sql<{ statements: string }[]>`
    select xact_commit + xact_rollback as statements from pg_stat_database
    where datname = current_database()`;
  const used = await Promise.all(pids.map(processorSeconds));
  const processor = used.some((share) => share === null)
    ? null
    : used.reduce<number>((sum, share) => sum + share!, 0);
  return { atMs: monotonicMs(), statements: Number(row!.statements), processor };
}
