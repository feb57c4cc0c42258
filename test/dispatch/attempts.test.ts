import type { ServerResponse } from 'node:http';
import { afterAll, afterEach, beforeEach, describe, expect, test } from 'vitest';
import {
  type Attempts,
  type AttemptsOptions,
  createAttempts,
} from '../../src/dispatch/attempts.ts';
import { createTargetGuard } from '../../src/dispatch/guard.ts';
import { createHealth } from '../../src/dispatch/health.ts';
import { createPoster, type Poster } from '../../src/dispatch/post.ts';
import { createQueueState, type QueueState } from '../../src/dispatch/queue-state.ts';
import { createSettler } from '../../src/dispatch/settler.ts';
import type { Signer } from '../../src/dispatch/sign.ts';
import { DEFAULT_FLOW_LIMITS, type WakeUp } from '../../src/model.ts';
import type { Database } from '../../src/store/database.ts';
import type { NewTask } from '../../src/store/enqueue.ts';
import { createKeyring } from '../../src/store/keyring.ts';
import { createVault } from '../../src/store/vault.ts';
import { verifyRooms } from '../../src/store/verify.ts';
import {
  claim,
  createOwner,
  createQueue,
  fill,
  type Owner,
  queueClaim,
  roomsOf,
  type TestQueue,
  times,
} from '../store/lease-fixture.ts';
import { useDatabase } from '../store/task-fixture.ts';
import { silentLog } from '../support/dispatcher.ts';
import { queueRecord } from '../support/queue-record.ts';
import { startTarget, type Target } from '../support/target.ts';
import { until } from '../support/until.ts';

const CONCURRENCY = 4;
const FRESH_MS = 60_000;

const database = useDatabase();
let statements: number;
let nowMs: number;
let open: ServerResponse[];
let target: Target;
let poster: Poster;
let owner: Owner;
let queue: TestQueue;
let state: QueueState;
let attempts: Attempts;
let wakeUps: WakeUp[];

/** The file's own database, counted. */
const counted: Database = {
  async run(verb) {
    statements += 1;
    return verb(database.sql);
  },
  close: async () => {},
};

const signer: Signer = { sign: async () => 'TOKEN', signWebhook: () => ({}) };

beforeEach(async () => {
  [statements, nowMs, open, wakeUps] = [0, 1_000, [], []];
  target = await startTarget((_, response) => void open.push(response));
  poster = createPoster({ guard: createTargetGuard({ allow: ['loopback'] }), connections: 16 });
  owner = await createOwner(database.sql);
  queue = await createQueue(database.sql);
  await database.sql`update errand.queue set pool = ${owner.pool} where id = ${queue.queue}`;
  state = createQueueState(queueRecord({ id: queue.queue }, { maxBurstSize: 1000 }), nowMs);
  attempts = create();
});

afterEach(async () => {
  await poster.close();
  await target.close();
});

afterAll(async () => {
  expect((await verifyRooms(database.sql)).problems).toEqual([]);
});

function create(overrides: Partial<AttemptsOptions> = {}): Attempts {
  const monotonic = () => nowMs;
  const parts = { database: counted, log: silentLog, onWakeUps: (more: WakeUp[]) => note(more) };
  return createAttempts({
    ...parts,
    settler: createSettler(parts),
    health: createHealth({ monotonic, databaseNow: Date.now, onChanged() {}, onStatus() {} }),
    poster,
    signerOf: async () => signer,
    keyring: createKeyring(counted, createVault([])),
    clock: { set() {}, now: Date.now },
    monotonic,
    publicUrl: 'https://errand.example',
    concurrency: CONCURRENCY,
    freshMs: FRESH_MS,
    isCertain: () => true,
    onFree() {},
    onParked() {},
    ...overrides,
  });
}

const note = (more: WakeUp[]) => void wakeUps.push(...more);

/** Claims so many and takes them in hand, as the claimer does; returns their ids. */
async function start(count: number, fields: Partial<NewTask> = {}): Promise<string[]> {
  await fill(database.sql, queue, ...times(count, { url: target.url, ...fields }));
  const tasks = await claim(database.sql, owner, [queueClaim(queue)]);
  state.inFlight += tasks.length;
  for (const task of tasks) attempts.start(task, state, { sentMs: nowMs, isForced: false });
  return tasks.map(({ taskId }) => taskId);
}

async function answerAll(status = 200): Promise<void> {
  for (const response of open.splice(0)) response.writeHead(status).end();
}

const idle = () => until(() => attempts.room(0) >= CONCURRENCY && state.inFlight === 0);

async function attemptsLogged(taskId: string): Promise<number> {
  return (await database.sql`select from errand.attempt where task = ${taskId}`).length;
}

/** It lies as it lay before it was claimed. */
async function expectUndone(taskId: string): Promise<void> {
  const [row] = await database.sql`select attempt from errand.ready where task = ${taskId}`;
  expect(row).toEqual({ attempt: 0 });
  expect(await attemptsLogged(taskId)).toBe(0);
}

describe('room()', () => {
  test('is the slots that are idle, less what is promised', async () => {
    expect(attempts.room(0)).toBe(4);
    expect(attempts.room(3)).toBe(1);
    expect(attempts.room(4)).toBe(0);
    await start(3);
    await target.arrived(3);
    expect(attempts.room(0)).toBe(1);
    expect(attempts.room(1)).toBe(0);
    await answerAll();
    await idle();
    expect(attempts.room(0)).toBe(4 + 3);
  });

  test('is as many ahead as calls ended well of late, two a slot at most, once half are used up', async () => {
    target.answer = (_, response) => void response.end();
    await start(20);
    await idle();
    expect(attempts.room(0)).toBe(4 + 8);
    target.answer = (_, response) => void open.push(response);
    await start(4);
    await target.arrived(24);
    expect(attempts.room(0)).toBe(8);
    expect(attempts.room(4)).toBe(4);
    expect(attempts.room(5)).toBe(0);
    nowMs += 80;
    expect(attempts.room(0)).toBe(0);
    await answerAll();
    await idle();
  });

  test('is none ahead while calls fail', async () => {
    target.answer = (_, response) => void response.writeHead(503).end();
    await start(12);
    await idle();
    expect(attempts.room(0)).toBe(4);
  });
});

describe('start()', () => {
  test('gives back a call that might not begin, frozen between its claim and its connection', async () => {
    const signing = Promise.withResolvers<string>();
    const slow: Signer = { ...signer, sign: () => signing.promise };
    attempts = create({ signerOf: async () => slow });
    const [id] = await start(1);
    // Its slot is taken and its turn has come: it waits for its token alone.
    await until(() => attempts.room(0) === 3);
    nowMs += FRESH_MS;
    signing.resolve('TOKEN');
    await until(() => attempts.begun() === 0);
    expect(target.arrivals).toEqual([]);
    await expectUndone(id!);
    const ours = wakeUps.filter((wakeUp) => wakeUp.queue === queue.queue);
    expect(ours).toMatchObject([{ dueInSeconds: 0 }]);
    expect(attempts.room(0)).toBe(4);
    expect(state.inFlight).toBe(0);
    const [again] = await claim(database.sql, owner, [queueClaim(queue)]);
    expect(again).toMatchObject({ taskId: id, attempt: 1 });
  });

  test('gives back in few statements what waited too long for a slot', async () => {
    await start(CONCURRENCY);
    await target.arrived(CONCURRENCY);
    const ids = await start(200);
    nowMs += FRESH_MS;
    const before = statements;
    await answerAll();
    await until(() => attempts.begun() === CONCURRENCY);
    expect(target.arrivals).toHaveLength(CONCURRENCY);
    for (const id of [ids[0], ids[199]]) await expectUndone(id!);
    await idle();
    // Those that freed slots have brought to their turn at once go together.
    expect(statements - before).toBeLessThan(200);
  });
});

describe('drain()', () => {
  test('gives back in few statements what waits for a slot, and lets calls in flight end', async () => {
    const called = await start(CONCURRENCY);
    await target.arrived(CONCURRENCY);
    const waiting = await start(400);
    expect(attempts.begun()).toBe(404);
    const before = statements;
    const draining = attempts.drain(10_000);
    await until(() => attempts.begun() === CONCURRENCY);
    // The first goes at once, then the 300 that came meanwhile, and the rest.
    expect(statements - before).toBe(3);
    for (const id of [waiting[0], waiting[399]]) await expectUndone(id!);
    await answerAll();
    nowMs += 1;
    await draining;
    for (const id of called) expect(await roomsOf(database.sql, id)).toEqual(['succeeded']);
    expect(target.arrivals).toHaveLength(CONCURRENCY);
    expect(attempts.begun()).toBe(CONCURRENCY);
    expect(wakeUps.filter((wakeUp) => wakeUp.queue === queue.queue)).toEqual([]);
  });

  test('gives back at once what waits for the rate', async () => {
    const rate = { maxDispatchesPerSecond: 0.001, maxBurstSize: 1 };
    state = createQueueState(queueRecord({ id: queue.queue }, rate), nowMs);
    const [, second] = await start(2);
    await target.arrived(1);
    const draining = attempts.drain(10_000);
    await answerAll();
    await draining;
    await expectUndone(second!);
    expect(target.arrivals).toHaveLength(1);
  });

  test('parks what has a flow key, in its place', async () => {
    const record = queueRecord({ id: queue.queue });
    const flow = { ...DEFAULT_FLOW_LIMITS, maxConcurrentDispatches: 10 };
    state = createQueueState({ ...record, settings: { ...record.settings, flow } }, nowMs);
    await start(CONCURRENCY, { flowKey: 'called' });
    await target.arrived(CONCURRENCY);
    const ids = await start(50, { flowKey: 'waiting' });
    const before = statements;
    const draining = attempts.drain(10_000);
    await until(() => attempts.begun() === CONCURRENCY);
    expect(statements - before).toBe(2);
    for (const id of ids) expect(await roomsOf(database.sql, id)).toEqual(['parked']);
    await answerAll();
    await draining;
  });

  test('gives back calls that outlive the grace', async () => {
    const [id] = await start(1);
    await target.arrived(1);
    const draining = attempts.drain(5_000);
    nowMs += 5_000;
    await draining;
    await expectUndone(id!);
    expect(attempts.begun()).toBe(0);
  });
});
