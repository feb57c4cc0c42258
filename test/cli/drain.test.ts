import postgres, { type Sql } from 'postgres';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { enqueueTasks } from '../../src/store/enqueue.ts';
import { findQueue } from '../../src/store/queue.ts';
import { putQueue } from '../../src/store/queue-change.ts';
import { verifyRooms } from '../../src/store/verify.ts';
import { createTestDatabase, type TestDatabase } from '../support/database.ts';
import { newTask } from '../support/new-task.ts';
import { startTarget, type Target } from '../support/target.ts';
import { until } from '../support/until.ts';
import { type ErrandProcess, runErrand, spawnErrand } from './errand-process.ts';

let database: TestDatabase;
let sql: Sql;
let target: Target;
const running: ErrandProcess[] = [];
let queues = 0;

beforeAll(async () => {
  database = await createTestDatabase();
  sql = postgres(database.url, { max: 2, onnotice: () => {} });
});

beforeEach(async () => {
  target = await startTarget();
});

afterEach(async () => {
  for (const { child, ended } of running.splice(0)) {
    child.kill('SIGKILL');
    await ended;
  }
  // Whoever was killed counts as alive for a while.
  await sql`delete from errand.dispatcher`;
  await target.close();
});

afterAll(async () => {
  expect((await verifyRooms(sql)).problems).toEqual([]);
  await sql.end();
  await database.drop();
});

const environment = () => ({ DATABASE_URL: database.url, ERRAND_TARGET_ALLOW: 'loopback' });
const drain = (...args: string[]) => runErrand(['drain', ...args], environment());

function start(...args: string[]): ErrandProcess {
  const errand = spawnErrand(args, { ...environment(), ERRAND_TAKEOVER_SECONDS: '2' });
  running.push(errand);
  return errand;
}

/** A queue of the test's own, with tasks in it. */
async function createQueue(count: number, pool = 'default'): Promise<string> {
  queues += 1;
  const name = `queue-${queues}`;
  await putQueue(sql, { project: 'default', name, settings: { pool } });
  const { id, shard } = (await findQueue(sql, 'default', name))!;
  const tasks = Array.from({ length: count }, () =>
    newTask({ queue: id, shard, url: `${target.url}/${name}` }),
  );
  if (count > 0) await enqueueTasks(sql, tasks);
  return name;
}

const callsTo = (name: string) => target.arrivals.filter(({ path }) => path === `/${name}`).length;

describe('errand drain, where nobody serves the pool', () => {
  it('dispatches the queue alone until it is empty, and says so', async () => {
    const [name, other] = [await createQueue(50), await createQueue(5)];
    const { code, stdout, stderr } = await drain('--queue', name);
    expect(stdout).toMatch(
      new RegExp(`^queue ${name}: 50 tasks dispatched in [\\d.]+ s, nothing is waiting\n$`),
    );
    expect(code).toBe(0);
    expect(stderr).toMatch(/^\d+ of 50 done, \d+ in flight\n/);
    expect([callsTo(name), callsTo(other)]).toEqual([50, 0]);
    expect(await sql`select from errand.dispatcher`).toHaveLength(0);
  });

  it('dispatches no more than the limit', async () => {
    const name = await createQueue(20, 'reports');
    const { code, stdout } = await drain('--queue', name, '--limit', '5');
    expect(stdout).toMatch(/: 5 tasks dispatched in [\d.]+ s, 15 waiting\n$/);
    expect([code, callsTo(name)]).toEqual([0, 5]);
  });

  it('does not wait for what is scheduled for later, retries too', async () => {
    const name = await createQueue(3);
    target.answer = (_, response) => void response.writeHead(500, { 'retry-after': '600' }).end();
    const { code, stdout } = await drain('--queue', name);
    expect(stdout).toMatch(
      /: 3 tasks dispatched in [\d.]+ s, nothing is waiting, 3 scheduled for later\n$/,
    );
    expect(code).toBe(0);
  });

  it('ends with 1 when the time is over', async () => {
    const name = await createQueue(2);
    target.answer = () => {};
    const environ = { ...environment(), ERRAND_DRAIN_SECONDS: '0' };
    const { code, stderr } = await runErrand(
      ['drain', '--queue', name, '--timeout', '1.5'],
      environ,
    );
    expect(stderr).toMatch(
      new RegExp(
        `errand: Queue ${name} was not drained within [\\d.]+ s; 0 tasks dispatched, 2 waiting or in flight\n$`,
      ),
    );
    expect(code).toBe(1);
  });
});

describe('errand drain, where a dispatcher serves the pool', () => {
  it('watches it empty the queue', async () => {
    const dispatcher = start('dispatch', '--pool', 'live');
    await dispatcher.says(/"msg":"errand is up"/);
    const open: (() => void)[] = [];
    target.answer = (_, response) => void open.push(() => response.end());
    const name = await createQueue(40, 'live');
    await target.arrived(40);
    const draining = start('drain', '--queue', name);
    await draining.says(/0 of 40 done, 40 in flight/);
    for (const answer of open) answer();
    expect(await draining.ended).toBe(0);
    expect(draining.stdout()).toMatch(
      /: 40 tasks dispatched by others in [\d.]+ s, nothing is waiting\n$/,
    );
    expect(callsTo(name)).toBe(40);
    const registered = await sql`select pid from errand.dispatcher`;
    expect(registered.map(({ pid }) => pid)).toEqual([dispatcher.child.pid]);
  });

  it('leaves the shards to a dispatcher that comes, so that no other queue waits for it', async () => {
    const open: (() => void)[] = [];
    const name = await createQueue(300);
    target.answer = ({ path }, response) => {
      if (path === `/${name}`) open.push(() => response.end());
      else response.end();
    };
    const draining = start('drain', '--queue', name);
    await target.arrived(100);
    start('dispatch');
    const others: string[] = [];
    for (let n = 0; n < 6; n += 1) others.push(await createQueue(1));
    await until(() => others.every((other) => callsTo(other) === 1), { what: 'calls elsewhere' });
    expect(draining.child.exitCode).toBeNull();

    target.answer = (_, response) => void response.end();
    for (const answer of open) answer();
    expect(await draining.ended).toBe(0);
    expect(draining.stdout()).toMatch(/: 300 tasks dispatched, \d+ of them by others, in /);
    expect(callsTo(name)).toBe(300);
    expect(await sql`select from errand.dispatcher`).toHaveLength(1);
  });
});

describe('errand drain, where a dispatcher was killed', () => {
  it('steps in about the take-over time later', async () => {
    const dispatcher = start('dispatch', '--pool', 'mortal');
    await dispatcher.says(/"msg":"errand is up"/);
    dispatcher.child.kill('SIGKILL');
    await dispatcher.ended;
    const name = await createQueue(10, 'mortal');
    const draining = start('drain', '--queue', name);
    expect(await draining.ended).toBe(0);
    const [, seconds] = /: 10 tasks dispatched in ([\d.]+) s/.exec(draining.stdout())!;
    // 2 s, and whatever else a busy machine takes.
    expect(Number(seconds)).toBeLessThan(12);
    expect(callsTo(name)).toBe(10);
    expect(await sql`select from errand.dispatcher`).toHaveLength(0);
  });
});

describe('errand drain, beside another', () => {
  /** What it says it did: all that was dispatched, and what of it by others. */
  function told({ stdout }: ErrandProcess): { all: number; others: number } {
    const [, all, others, byOthers] =
      /: (\d+) tasks? dispatched(?:, (\d+) of them by others,)?( by others)? in /.exec(stdout())!;
    return { all: Number(all), others: Number(byOthers ? all : (others ?? 0)) };
  }

  it('of the same queue, each ends well and says what it did itself', async () => {
    target.answer = (_, response) => void setTimeout(() => response.end(), 200);
    const name = await createQueue(250);
    const drains = [start('drain', '--queue', name), start('drain', '--queue', name)];
    expect(await Promise.all(drains.map(({ ended }) => ended))).toEqual([0, 0]);
    expect(callsTo(name)).toBe(250);
    const own = drains.map(told).map(({ all, others }) => all - others);
    expect(own[0]! + own[1]!).toBe(250);
    expect(await sql`select from errand.dispatcher`).toHaveLength(0);
  });

  it('goes on where one of the same queue was killed', async () => {
    target.answer = () => {};
    const name = await createQueue(3);
    const first = start('drain', '--queue', name);
    await target.arrived(3);
    const second = start('drain', '--queue', name);
    await until(() => second.stderr().includes('in flight'), { what: 'its progress' });
    target.answer = (_, response) => void response.end();
    first.child.kill('SIGKILL');
    await first.ended;
    expect(await second.ended).toBe(0);
    // The three that were lost are tried again a little later, which is not waited for.
    expect(second.stdout()).toMatch(/nothing is waiting/);
  });

  it('of another queue, it does not wait for that one', async () => {
    const [slow, quick] = [await createQueue(1), await createQueue(5)];
    target.answer = ({ path }, response) => {
      if (path !== `/${slow}`) response.end();
    };
    const first = start('drain', '--queue', slow);
    await target.arrived(1);
    const second = start('drain', '--queue', quick);
    expect(await second.ended).toBe(0);
    expect(second.stdout()).toMatch(/: 5 tasks dispatched in /);
    expect(first.child.exitCode).toBeNull();
  });
});

describe('errand drain, asked wrongly', () => {
  it.each([
    [['--queue', 'nowhere'], 'errand: Project default has no queue nowhere\n'],
    [
      ['--queue', 'default', '--limit', '0'],
      'errand: --limit must be an integer from 1 to 100000, got "0"\n',
    ],
    [
      ['--queue', 'default', '--timeout', 'soon'],
      'errand: --timeout must be a number of seconds from 0 to 1000000, got "soon"\n',
    ],
  ])('%j ends with 1', async (args, message) => {
    expect(await drain(...args)).toMatchObject({ code: 1, stdout: '', stderr: message });
  });

  it('a paused queue ends with 1', async () => {
    const name = await createQueue(1);
    await sql`update errand.queue set paused_at = now() where name = ${name}`;
    const { code, stderr } = await drain('--queue', name);
    expect([code, stderr]).toEqual([
      1,
      `errand: Queue ${name} is paused, so nothing of it is dispatched: resume it first\n`,
    ]);
  });
});
