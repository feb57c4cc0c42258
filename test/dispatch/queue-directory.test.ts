import { beforeEach, describe, expect, test } from 'vitest';
import { createQueueDirectory, type QueueDirectory } from '../../src/dispatch/queue-directory.ts';
import { type Inheritance, isHungry, type QueueState } from '../../src/dispatch/queue-state.ts';
import type { QueueRecord } from '../../src/model.ts';
import { availableTokens } from '../../src/policy/rate.ts';
import { StoreError } from '../../src/store/errors.ts';
import { silentLog } from '../support/dispatcher.ts';
import { queueRecord } from '../support/queue-record.ts';
import { until } from '../support/until.ts';

const AWAY = new StoreError('database-unavailable', 'The database is not reachable');

let nowMs: number;
let stored: Map<number, QueueRecord>;
let loads: number[][];
let failure: Error | null;
let changed: QueueState[];
let dropped: QueueState[];
let inheritances: Map<number, Inheritance>;
let directory: QueueDirectory;

beforeEach(() => {
  nowMs = 0;
  stored = new Map([1, 2].map((id) => [id, queueRecord({ id, name: `q${id}` })]));
  loads = [];
  failure = null;
  changed = [];
  dropped = [];
  inheritances = new Map([[0, { foreign: 0 }]]);
  directory = createQueueDirectory({
    async load(ids) {
      loads.push(ids);
      await Promise.resolve();
      if (failure !== null) throw failure;
      return ids.flatMap((id) => stored.get(id) ?? []);
    },
    pool: 'default',
    monotonic: () => nowMs,
    log: silentLog,
    inherit: ({ shard }) => inheritances.get(shard) ?? null,
    onChanged: (state) => changed.push(state),
    onDropped: (states) => dropped.push(...states),
  });
});

const head = (queue: number, seq: number, rank = 0) => ({
  shard: 0,
  queue,
  rank,
  seq: String(seq),
});

describe('queue directory', () => {
  test('noteReady() loads a queue once, and keeps every head that is told meanwhile', async () => {
    directory.noteReady(head(1, 9));
    directory.noteReady(head(1, 5));
    directory.noteReady(head(1, 7, -3));
    await until(() => changed.length > 0);
    expect(loads).toEqual([[1]]);
    expect([...changed[0]!.cursors]).toEqual([
      [0, 4n],
      [-3, 6n],
    ]);
  });

  test('noteReady() knows a loaded queue at once', async () => {
    await directory.records([1]);
    directory.noteReady(head(1, 5));
    expect(changed).toHaveLength(1);
    expect(loads).toHaveLength(1);
  });

  test('queues of another pool, and those that are gone, are left alone', async () => {
    stored.set(2, queueRecord({ id: 2, pool: 'batch' }));
    directory.noteReady(head(2, 1));
    directory.noteReady(head(3, 1));
    await until(() => loads.flat().includes(3));
    expect(await directory.records([2, 3])).toEqual(new Map());
    expect(changed).toEqual([]);
  });

  test('reload() takes over changed settings and keeps limits and cursors', async () => {
    directory.noteReady(head(1, 5));
    await until(() => changed.length === 1);
    const state = changed[0]!;
    state.inFlight = 3;
    stored.set(1, queueRecord({ id: 1, version: 2 }, { maxConcurrentDispatches: 4 }));
    await directory.reload([1]);
    expect(changed).toEqual([state, state]);
    expect(state).toMatchObject({ inFlight: 3, record: { version: 2 } });
    await directory.reload([1]);
    expect(changed).toHaveLength(2);
  });

  test.each([
    ['paused', { paused: true }],
    ['being purged', { isPurging: true }],
  ])('a queue that was %s is read again when a look tells another version', async (_, closed) => {
    stored.set(1, queueRecord({ id: 1, version: 2, ...closed }));
    directory.noteReady({ ...head(1, 5), version: 2 });
    await until(() => changed.length > 0);
    expect(isHungry(changed[0]!, 0)).toBe(false);
    directory.noteReady({ ...head(1, 5), version: 2 });
    stored.set(1, queueRecord({ id: 1, version: 3 }));
    directory.noteReady({ ...head(1, 5), version: 3 });
    await until(() => isHungry(changed[0]!, 0));
    expect(loads).toHaveLength(2);
  });

  test('a queue that changes at every look is read once a look', async () => {
    stored.set(1, queueRecord({ id: 1, version: 2 }));
    directory.noteReady({ ...head(1, 5), version: 1 });
    await until(() => changed.length > 0);
    await new Promise((resolve) => setImmediate(resolve));
    expect(loads).toHaveLength(1);
  });

  test('a load that fails is made again at the next head', async () => {
    failure = AWAY;
    directory.noteReady(head(1, 5));
    await until(() => loads.length === 1);
    failure = null;
    await until(() => {
      directory.noteReady(head(1, 5));
      return changed.length > 0;
    });
  });

  test('a queue begins with what its owner before left of it', async () => {
    inheritances.set(0, { foreign: 3, tokens: 1.5 });
    const state = (await directory.state(1))!;
    expect(state.foreign).toBe(3);
    expect(availableTokens(state.bucket, nowMs)).toBe(1.5);
    expect(availableTokens(state.gate, nowMs)).toBe(1.5);
  });

  test('a queue of a shard that is not ours is loaded but not kept', async () => {
    inheritances.clear();
    directory.noteReady(head(1, 5));
    await until(() => loads.length === 1);
    expect(await directory.state(1)).toBeNull();
    expect([...(await directory.records([1])).keys()]).toEqual([1]);
    expect(changed).toEqual([]);
  });

  test('drop() forgets the queues of these shards only, and onShards() tells what is left', async () => {
    inheritances.set(5, { foreign: 0 });
    stored.set(2, queueRecord({ id: 2, shard: 5 }));
    const [first, second] = [await directory.state(1), await directory.state(2)];
    expect(directory.onShards([0, 5])).toEqual([first, second]);
    directory.drop([5]);
    expect(dropped).toEqual([second]);
    expect([first, second].map((state) => state!.isDropped)).toEqual([false, true]);
    expect(directory.onShards([0, 5])).toEqual([first]);
    expect(await directory.state(2)).not.toBe(second);
  });

  test('a queue that moved to another pool is forgotten', async () => {
    const before = await directory.state(1);
    stored.set(1, queueRecord({ id: 1, pool: 'batch', version: 2 }));
    await directory.reload([1]);
    expect(directory.onShards([0])).not.toContain(before);
    expect(dropped).toEqual([before]);
    expect(before!.isDropped).toBe(true);
    expect(await directory.state(1)).toBeNull();
  });

  test('reload() outlives an error that is not about the database being away', async () => {
    failure = new Error('deadlock detected');
    await directory.reload([1]);
    failure = null;
    await directory.reload([1]);
    expect(directory.known(1)).toBeDefined();
  });

  test('reload() and records() while the database is away: the one waits, the other throws', async () => {
    failure = AWAY;
    await directory.reload([1]);
    await expect(directory.records([1])).rejects.toBe(AWAY);
  });
});
