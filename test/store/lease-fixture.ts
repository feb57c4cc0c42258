import { randomUUID } from 'node:crypto';
import type { ClaimedTask, Decision, Settlement } from '../../src/model.ts';
import { array } from '../../src/store/array.ts';
import { type ClaimInput, claimTasks, type QueueClaim } from '../../src/store/claim.ts';
import {
  claimParkedTasks,
  type ParkedClaim,
  type ParkedClaimInput,
} from '../../src/store/claim-parked.ts';
import type { Claimant } from '../../src/store/claimed-rows.ts';
import type { Sql } from '../../src/store/database.ts';
import { enqueueTasks, type NewTask } from '../../src/store/enqueue.ts';
import { registerDispatcher, takeShards } from '../../src/store/ownership.ts';
import { newTask } from '../support/new-task.ts';

/** A dispatcher that owns shards of a pool of its own, so that tests of one file do not meet. */
export interface Owner {
  pool: string;
  dispatcher: number;
  /** By shard. */
  epochs: Map<number, string>;
}

export interface TestQueue {
  queue: number;
  shard: number;
  version: number;
}

/** A pool of these shards that nobody owns. */
export async function createPool(sql: Sql, shards: readonly number[] = [0]): Promise<string> {
  const pool = randomUUID();
  for (const shard of shards) {
    await sql`insert into errand.ownership (pool, shard) values (${pool}, ${shard})`;
  }
  return pool;
}

export async function register(sql: Sql, pool: string): Promise<number> {
  return registerDispatcher(sql, { pool, host: 'test', pid: process.pid });
}

export async function createOwner(sql: Sql, shards: readonly number[] = [0]): Promise<Owner> {
  const pool = await createPool(sql, shards);
  const dispatcher = await register(sql, pool);
  const taken = await takeShards(sql, { pool, dispatcher, dead: [], limit: 64 });
  return { pool, dispatcher, epochs: new Map(taken.map(({ shard, epoch }) => [shard, epoch])) };
}

/** A queue of the test's own: what other tests leave behind lies in others. */
export async function createQueue(sql: Sql, { shard = 0, settings = {} } = {}): Promise<TestQueue> {
  const [row] = await sql<{ id: number }[]>`
    insert into errand.queue (project, name, shard, settings)
    values ('default', ${randomUUID()}, ${shard}, ${JSON.stringify(settings)}::text::jsonb)
    returning id`;
  return { queue: row!.id, shard, version: 1 };
}

/** Enqueues tasks into a queue, in this order, and returns their ids. */
export async function fill(
  sql: Sql,
  { queue, shard }: TestQueue,
  ...tasks: Partial<NewTask>[]
): Promise<string[]> {
  const rows = tasks.map((fields) => newTask({ queue, shard, ...fields }));
  return (await enqueueTasks(sql, rows)).map(({ taskId }) => taskId);
}

export function times(count: number, fields: Partial<NewTask> = {}): Partial<NewTask>[] {
  return Array.from({ length: count }, () => fields);
}

/** What a claim says of a queue: everything of rank 0, unless told otherwise. */
export function queueClaim(
  { queue, version }: TestQueue,
  fields: Partial<QueueClaim> = {},
): QueueClaim {
  const cursors = [{ rank: 0, afterSeq: '0' }];
  return { queue, version, limit: 1000, dispatchDeadlineSeconds: 600, cursors, ...fields };
}

export async function claim(
  sql: Sql,
  owner: Owner,
  queues: QueueClaim[],
  fields: Partial<ClaimInput> = {},
): Promise<ClaimedTask[]> {
  await giveTo(sql, owner, queues);
  const { tasks } = await claimTasks(sql, { ...claimant(owner, fields.shard), queues, ...fields });
  return tasks;
}

/** Claims what is parked of these keys. */
export async function claimParked(
  sql: Sql,
  owner: Owner,
  { queue, shard, version }: TestQueue,
  limits: Record<string, number>,
  fields: Partial<ParkedClaimInput> = {},
): Promise<ParkedClaim> {
  await giveTo(sql, owner, [{ queue }]);
  const flows = Object.entries(limits).map(([flowKey, limit]) => {
    return { queue, version, flowKey, limit, dispatchDeadlineSeconds: 600 };
  });
  return claimParkedTasks(sql, { ...claimant(owner, shard), flows, ...fields });
}

/** Queues are made before it is said whose they are: a claim takes those of its own pool only. */
export async function giveTo(
  sql: Sql,
  { pool }: Owner,
  queues: { queue: number }[],
): Promise<void> {
  const ids = array(
    sql,
    'integer',
    queues.map(({ queue }) => queue),
  );
  await sql`update errand.queue set pool = ${pool} where id = any(${ids}) and pool <> ${pool}`;
}

export function claimant(owner: Owner, shard = 0): Claimant {
  return {
    pool: owner.pool,
    shard,
    dispatcher: owner.dispatcher,
    epoch: owner.epochs.get(shard) ?? '0',
    claim: 1,
    leaseMarginSeconds: 10,
  };
}

/** Enqueues one task and claims it. */
export async function claimNew(
  sql: Sql,
  owner: Owner,
  queue: TestQueue,
  fields: Partial<NewTask> = {},
): Promise<ClaimedTask> {
  const [taskId] = await fill(sql, queue, fields);
  const tasks = await claim(sql, owner, [queueClaim(queue)], { shard: queue.shard });
  return tasks.find((task) => task.taskId === taskId)!;
}

/** A settlement as the dispatcher makes it when a worker has answered. */
export function settlementOf(
  task: ClaimedTask,
  decision: Decision,
  fields: Partial<Settlement> = {},
): Settlement {
  const { shard, taskId, leaseId, queue, step, attempt, name } = task;
  return {
    ...{ shard, taskId, leaseId, queue, step, attempt, name, decision },
    retentionSeconds: 1000,
    nameRetentionSeconds: 100,
    outcome: 'responded',
    status: 200,
    error: null,
    durationMs: 12,
    ...fields,
  };
}

export const retryIn = (delaySeconds: number): Decision => ({ kind: 'retry', delaySeconds });

export function continueWith(
  payload: string | Uint8Array,
  fields: Partial<Extract<Decision, { kind: 'continue' }>> = {},
): Decision {
  return {
    kind: 'continue',
    payload: Buffer.from(payload),
    delaySeconds: 0,
    progress: null,
    url: null,
    dropAuthorization: false,
    ...fields,
  };
}

/** Another session, with a transaction open until `commit`. */
export async function openTransaction(sql: Sql): Promise<{ sql: Sql; commit(): Promise<void> }> {
  const other = await sql.reserve();
  await other`begin`;
  return {
    sql: other,
    async commit() {
      await other`commit`;
      other.release();
    },
  };
}

/** In which rooms a task lies: one, unless something is broken. */
export async function roomsOf(sql: Sql, taskId: string): Promise<string[]> {
  const rows = await sql<{ room: string }[]>`
    select 'ready' as room from errand.ready where task = ${taskId}
    union all select 'parked' from errand.parked where task = ${taskId}
    union all select 'scheduled' from errand.scheduled where task = ${taskId}
    union all select 'lease' from errand.lease where task = ${taskId}
    union all select state::text from errand.finished where task = ${taskId}`;
  return rows.map(({ room }) => room);
}
