import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { findQueue } from '../../src/store/queue.ts';
import { putQueue } from '../../src/store/queue-change.ts';
import { readQueueStatus } from '../../src/store/queue-status.ts';
import { verifyRooms } from '../../src/store/verify.ts';
import { type Bench, startBench } from '../support/dispatcher.ts';
import { startTarget, type Target } from '../support/target.ts';
import { until } from '../support/until.ts';

const BREAKER = { minCalls: 20, failureShare: 0.7, openSeconds: 1 };

let bench: Bench;
let failing: Target;
let healthy: Target;

beforeEach(async () => {
  [bench, failing, healthy] = await Promise.all([
    startBench({ concurrency: 8 }),
    startTarget((_, response) => void response.writeHead(500).end()),
    startTarget(),
  ]);
});

afterEach(async () => {
  await bench.close();
  await Promise.all([failing.close(), healthy.close()]);
});

async function createQueue(name: string, circuitBreaker: typeof BREAKER | null = BREAKER) {
  const settings = { circuitBreaker };
  await bench.database.run((sql) => putQueue(sql, { project: 'default', name, settings }));
  return (await bench.database.run((sql) => findQueue(sql, 'default', name)))!;
}

type Queue = Awaited<ReturnType<typeof createQueue>>;

/** Few attempts and long waits between them, so that each call is another task. */
const retry = { minBackoffSeconds: 2, maxBackoffSeconds: 2, maxAttempts: 1000 };

const tasks = ({ id, shard }: Queue, target: Target, count: number) =>
  Array.from({ length: count }, () => ({ queue: id, shard, url: target.url, retry }));

const statusOf = (queue: Queue) => bench.database.run((sql) => readQueueStatus(sql, queue));

const circuitOf = (queue: Queue, wanted: number) =>
  until(async () => (await statusOf(queue)).openCircuits.length === wanted, {
    what: `${wanted} open circuits in the status`,
  });

async function countFinished({ id }: Queue): Promise<number> {
  const [row] = await bench.database.run(
    (sql) => sql`select count(*)::integer as n from errand.finished
      where queue = ${id} and state = 'succeeded'`,
  );
  return row!.n;
}

async function expectAttemptsAreCalls(target: Target, { id }: Queue): Promise<void> {
  const [row] = await bench.database.run(
    (sql) => sql`select coalesce(sum(attempt), 0)::integer as n from errand.finished
      where queue = ${id}`,
  );
  expect(row!.n).toBe(target.arrivals.length);
}

async function expectCleanRooms(): Promise<void> {
  const { problems } = await bench.database.run(verifyRooms);
  expect(problems).toEqual([]);
}

describe('the circuit breaker of a queue', () => {
  test('stops calling a target that fails, probes, and goes on when it has recovered', async () => {
    const queue = await createQueue('failing');
    await bench.enqueue(...tasks(queue, failing, 60));
    await failing.arrived(20);
    await circuitOf(queue, 1);
    const [circuit] = (await statusOf(queue)).openCircuits;
    expect(circuit).toEqual({ origin: failing.url, probeAt: expect.stringMatching(/^20.*Z$/) });

    // What was in flight when it opened may still arrive; then there are probes alone.
    await failing.arrived(failing.arrivals.length + 1);
    const held = failing.arrivals.length;
    expect(held).toBeLessThanOrEqual(20 + 8 + 1);
    await failing.arrived(held + 1);
    expect(failing.inFlight.most).toBeLessThanOrEqual(8);

    failing.answer = (_, response) => void response.end();
    await until(async () => (await countFinished(queue)) === 60, {
      timeoutMs: 20_000,
      what: '60 succeeded tasks',
    });
    await circuitOf(queue, 0);
    await expectAttemptsAreCalls(failing, queue);
    await expectCleanRooms();
  });

  test('leaves the backlog of a queue that calls nothing else in its place', async () => {
    const queue = await createQueue('backlog', { ...BREAKER, openSeconds: 60 });
    await bench.enqueue(...tasks(queue, failing, 300));
    await circuitOf(queue, 1);
    const [row] = await bench.database.run(
      (sql) => sql`select count(*)::integer as ready from errand.ready where queue = ${queue.id}`,
    );
    expect(row!.ready).toBeGreaterThanOrEqual(300 - 20 - 8);
    expect(failing.arrivals.length).toBeLessThanOrEqual(20 + 8);
  });

  test('holds one origin of a queue, and neither its others nor other queues', async () => {
    const mixed = await createQueue('mixed', { ...BREAKER, openSeconds: 60 });
    const other = await createQueue('other', { ...BREAKER, minCalls: 1000 });
    const both = tasks(mixed, failing, 150).flatMap((task) => [
      task,
      { ...task, url: healthy.url },
    ]);
    await bench.enqueue(...both, ...tasks(other, healthy, 20), ...tasks(other, failing, 20));
    await until(async () => (await countFinished(mixed)) === 150, { what: '150 healthy calls' });
    await until(async () => (await countFinished(other)) === 20, { what: '20 calls elsewhere' });
    expect((await statusOf(mixed)).openCircuits.map(({ origin }) => origin)).toEqual([failing.url]);
    expect((await statusOf(other)).openCircuits).toEqual([]);
    const held = await bench.database.run(
      (
        sql,
      ) => sql`select attempt, previous_status, due_at > now() + interval '20 seconds' as is_late
        from errand.scheduled where queue = ${mixed.id} and attempt = 0`,
    );
    expect(held.length).toBeGreaterThan(100);
    for (const row of held)
      expect(row).toEqual({ attempt: 0, previous_status: null, is_late: true });
    await expectCleanRooms();
  });

  test('is off for a queue that says so', async () => {
    const queue = await createQueue('off', null);
    await bench.enqueue(...tasks(queue, failing, 100));
    await failing.arrived(100);
    expect((await statusOf(queue)).openCircuits).toEqual([]);
  });
});

describe('a target that asks to be called less', () => {
  test('gets half the rate, which comes back by itself', async () => {
    const queue = await createQueue('slow');
    failing.answer = (_, response) => void response.writeHead(503).end();
    await bench.enqueue(...tasks(queue, failing, 1));
    await until(async () => (await statusOf(queue)).rateShare === 0.5, { what: 'half the rate' });
    failing.answer = (_, response) => void response.end();
    await until(async () => (await countFinished(queue)) === 1, { what: 'the task done' });
    await until(async () => (await statusOf(queue)).rateShare === 1, { what: 'the whole rate' });
  });
});
