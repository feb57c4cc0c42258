import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import type { Database } from '../../src/store/database.ts';
import { StoreError } from '../../src/store/errors.ts';
import { verifyRooms } from '../../src/store/verify.ts';
import { type Bench, startBench } from '../support/dispatcher.ts';
import { startTarget, type Target } from '../support/target.ts';
import { until } from '../support/until.ts';

let bench: Bench;
let target: Target;

beforeEach(async () => {
  [bench, target] = await Promise.all([startBench(), startTarget()]);
});

afterEach(async () => {
  await bench.close();
  await target.close();
});

interface Finished {
  state: string;
  attempt: number;
  step: number;
  reason: string | null;
  output: Buffer | null;
  last_status: number | null;
}

function finished(id: string): Promise<Finished> {
  return until(
    () =>
      bench.database.run(async (sql) => {
        const [row] = await sql<Finished[]>`
          select state, attempt, step, reason, output, last_status from errand.finished where task = ${id}`;
        return row;
      }),
    { what: `the end of task ${id}` },
  );
}

function attempts(id: string) {
  return bench.database.run(
    (sql) => sql<
      { attempt: number; step: number; outcome: string; settlement: string; error: string }[]
    >`
      select attempt, step, outcome, settlement, error from errand.attempt where task = ${id}
      order by step, attempt`,
  );
}

async function expectCleanRooms(): Promise<void> {
  const { problems } = await bench.database.run(verifyRooms);
  expect(problems).toEqual([]);
}

describe('dispatcher', () => {
  test('a 200 completes the task, with the body as its output', async () => {
    target.answer = (_, response) => void response.end('done');
    const [id] = await bench.enqueue({ url: `${target.url}/work?a=1`, body: Buffer.from('hello') });
    const result = await finished(id!);
    expect(result).toMatchObject({ state: 'succeeded', attempt: 1, last_status: 200 });
    expect(result.output?.toString()).toBe('done');
    const [arrival] = target.arrivals;
    expect(arrival).toMatchObject({
      method: 'POST',
      path: '/work?a=1',
      body: Buffer.from('hello'),
    });
    expect(arrival!.headers).toMatchObject({
      'errand-task-id': id,
      'errand-queue': 'default',
      'errand-attempt': '1',
      'errand-max-attempts': '100',
      'errand-step': '0',
      'content-type': 'text/plain',
    });
    await expectCleanRooms();
  });

  test('anything else is a retry with backoff, and the attempts are logged', async () => {
    const statuses = [500, 204, 302, 200];
    target.answer = (_, response) => {
      response.statusCode = statuses.shift()!;
      if (response.statusCode === 302) response.setHeader('location', '/elsewhere');
      response.end();
    };
    const [id] = await bench.enqueue({ url: target.url });
    expect(await finished(id!)).toMatchObject({ state: 'succeeded', attempt: 4 });
    expect(target.arrivals.map((a) => a.headers['errand-attempt'])).toEqual(['1', '2', '3', '4']);
    expect(target.arrivals.map((a) => a.headers['errand-previous-status'])).toEqual([
      undefined,
      '500',
      '204',
      '302',
    ]);
    expect(target.arrivals.map((a) => a.path)).toEqual(['/', '/', '/', '/']);
    const log = await attempts(id!);
    expect(log.map((a) => a.settlement)).toEqual(['retry', 'retry', 'retry', 'succeed']);
    // 0.1, 0.2, 0.4 s: the backoff before each retry was waited for.
    const gaps = target.arrivals.slice(1).map((a, i) => a.atMs - target.arrivals[i]!.atMs);
    expect(gaps[0]).toBeGreaterThanOrEqual(99);
    expect(gaps[1]).toBeGreaterThanOrEqual(199);
    expect(gaps[2]).toBeGreaterThanOrEqual(399);
    await expectCleanRooms();
  });

  test('a task that runs out of attempts fails and is kept', async () => {
    target.answer = (_, response) => void response.writeHead(503).end('busy');
    const [id] = await bench.enqueue({ url: target.url, retry: { maxAttempts: 2 } });
    expect(await finished(id!)).toMatchObject({ state: 'failed', attempt: 2, last_status: 503 });
    expect(target.arrivals).toHaveLength(2);
  });

  test('Errand-Outcome: failed ends the task with the body as the reason', async () => {
    target.answer = (_, response) =>
      void response.writeHead(200, { 'errand-outcome': 'failed' }).end('no such user');
    const [id] = await bench.enqueue({ url: target.url });
    expect(await finished(id!)).toMatchObject({
      state: 'failed',
      attempt: 1,
      reason: 'no such user',
    });
  });

  test('Errand-Outcome: continue starts the next step with the new payload', async () => {
    target.answer = (arrival, response) => {
      const step = Number(arrival.headers['errand-step']);
      if (step === 3) return void response.end('end');
      const body = JSON.stringify({ payload: `step ${step + 1}`, progress: step * 10 });
      response.writeHead(200, { 'errand-outcome': 'continue' }).end(body);
    };
    const [id] = await bench.enqueue({ url: target.url, body: Buffer.from('step 0') });
    expect(await finished(id!)).toMatchObject({ state: 'succeeded', step: 3, attempt: 1 });
    expect(target.arrivals.map((a) => a.body.toString())).toEqual([
      'step 0',
      'step 1',
      'step 2',
      'step 3',
    ]);
    await expectCleanRooms();
  });

  test('a call ends at its deadline and is retried as timed out', async () => {
    let calls = 0;
    target.answer = (_, response) => {
      calls += 1;
      if (calls > 1) response.end();
    };
    const [id] = await bench.enqueue({ url: target.url, dispatchDeadlineMs: 1_000 });
    await finished(id!);
    expect((await attempts(id!)).map((a) => a.outcome)).toEqual(['timed_out', 'responded']);
  });

  test('a dropped connection is an attempt with outcome unreachable', async () => {
    let calls = 0;
    target.answer = (_, response) => {
      calls += 1;
      if (calls > 1) response.end();
      else response.socket!.destroy();
    };
    const [id] = await bench.enqueue({ url: target.url });
    await finished(id!);
    expect((await attempts(id!)).map((a) => a.outcome)).toEqual(['unreachable', 'responded']);
  });

  test('a delayed task is dispatched when it is due, not before', async () => {
    const startMs = performance.now();
    const [id] = await bench.enqueue({ url: target.url, delaySeconds: 0.5 });
    await finished(id!);
    const waited = target.arrivals[0]!.atMs - startMs;
    expect(waited).toBeGreaterThanOrEqual(495);
  });

  test('a task past its expire time fails and is never called', async () => {
    const [id] = await bench.enqueue({ url: target.url, expireAt: new Date(Date.now() - 1000) });
    expect(await finished(id!)).toMatchObject({ state: 'failed', attempt: 0 });
    expect(target.arrivals).toEqual([]);
    expect(await attempts(id!)).toEqual([]);
  });

  test('a target that the rules refuse is an attempt with outcome blocked', async () => {
    const [id] = await bench.enqueue({ url: 'http://10.0.0.1/', retry: { maxAttempts: 1 } });
    expect(await finished(id!)).toMatchObject({ state: 'failed' });
    const [attempt] = await attempts(id!);
    expect(attempt).toMatchObject({ outcome: 'blocked' });
    expect(attempt!.error).toContain('10.0.0.1');
  });

  test('promise 5: within a queue, higher priority first, then first in, first out', async () => {
    await bench.database.run(
      (sql) => sql`update errand.queue set paused_at = now(), version = version + 1 where id = 1`,
    );
    const ranks = [0, 5, -5, 0, 5, -5, 0];
    const ids = await bench.enqueue(...ranks.map((rank) => ({ url: target.url, rank })));
    await bench.database.run(
      (sql) => sql`update errand.queue set paused_at = null, version = version + 1,
        settings = '{"rateLimits": {"maxConcurrentDispatches": 1}}' where id = 1`,
    );
    bench.dispatcher.lookNow();
    await target.arrived(7);
    const order = [2, 5, 0, 3, 6, 1, 4].map((index) => ids[index]);
    expect(target.arrivals.map((a) => a.headers['errand-task-id'])).toEqual(order);
    expect(target.inFlight.most).toBe(1);
  });

  test('a queue that was met while it was paused is served when it is resumed', async () => {
    const setPaused = (isPaused: boolean) =>
      bench.database.run(
        (sql) => sql`update errand.queue set version = version + 1,
          paused_at = ${isPaused ? new Date() : null} where id = 1`,
      );
    await setPaused(true);
    const [first] = await bench.enqueue({ url: target.url });
    // The look that meets the paused queue comes before this other queue's task is dispatched.
    await bench.database.run(
      (sql) => sql`insert into errand.queue (project, name, shard) values ('default', 'other', 0)`,
    );
    await finished((await bench.enqueue({ url: `${target.url}/other`, queue: 2 }))[0]!);
    expect(target.arrivals.map(({ path }) => path)).toEqual(['/other']);
    await setPaused(false);
    await finished(first!);
  });

  test('beats on while its other statements find no connection', async () => {
    let isAway = false;
    const database: Database = {
      async run(verb, options) {
        if (isAway) throw new StoreError('database-unavailable', 'There was no connection');
        return bench.database.run(verb, options);
      },
      close: async () => {},
    };
    await bench.startDispatcher({
      database,
      heartbeats: bench.database,
      pool: 'beating',
      takeoverMs: 1_000,
    });
    const beats = () =>
      bench.database.run(async (sql) => {
        const [row] = await sql<{ id: number; heartbeat: number }[]>`
          select id, heartbeat::integer from errand.dispatcher where pool = 'beating'`;
        return row!;
      });
    const { id, heartbeat } = await beats();
    isAway = true;
    await until(async () => (await beats()).heartbeat >= heartbeat + 3);
    isAway = false;
    expect((await beats()).id).toBe(id);
  });

  test('2,000 tasks are dispatched once each, none is lost, and the rooms are clean', async () => {
    await bench.database.run(
      (sql) => sql`update errand.queue set version = version + 1,
        settings = '{"rateLimits": {"maxDispatchesPerSecond": 100000, "maxBurstSize": 10000}}' where id = 1`,
    );
    const ids = await bench.enqueue(...Array.from({ length: 2_000 }, () => ({ url: target.url })));
    await target.arrived(2_000);
    await until(() =>
      bench.database.run(async (sql) => {
        const [row] = await sql`select count(*)::int as n from errand.finished`;
        return row!.n === 2_000;
      }),
    );
    expect(new Set(target.arrivals.map((a) => a.headers['errand-task-id']))).toEqual(new Set(ids));
    expect(target.arrivals).toHaveLength(2_000);
    await expectCleanRooms();
  });
});
