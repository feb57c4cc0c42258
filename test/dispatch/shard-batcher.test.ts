import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';
import { createShardBatcher } from '../../src/dispatch/shard-batcher.ts';

interface Item {
  shard: number;
  n: number;
}

interface Sent {
  shard: number;
  items: number[];
  atMs: number;
  /** Ends the statement: with what it wrote, or with an error. */
  end(error?: Error): Promise<void>;
}

let sent: Sent[];
let startMs: number;

/** Its clock and its timers; the turns of the event loop stay real. */
beforeEach(() => {
  vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout', 'performance'] });
  sent = [];
  startMs = performance.now();
});

afterEach(() => {
  expect(vi.getTimerCount()).toBe(0);
  vi.useRealTimers();
});

const settled = () => new Promise((resolve) => setImmediate(resolve));

function create(maxItems = 300): (item: Item) => Promise<number> {
  return createShardBatcher<Item, number>({
    run(shard, items) {
      const { promise, resolve, reject } = Promise.withResolvers<number[]>();
      sent.push({
        shard,
        items: items.map(({ n }) => n),
        atMs: performance.now() - startMs,
        end(error) {
          if (error === undefined) resolve(items.map(({ n }) => n * 10));
          else reject(error);
          return settled() as Promise<void>;
        },
      });
      return promise;
    },
    isItemRefused: (error) => (error as Error).message === 'refused',
    maxItems,
  });
}

const items = (shard: number, from: number, count: number): Item[] =>
  Array.from({ length: count }, (_, index) => ({ shard, n: from + index }));

const sentBy = () => sent.map((each) => [each.shard, each.items.length]);

/** Load is what a batch of 16 tells: one that comes alone, and 16 behind it. */
async function load(write: (item: Item) => Promise<number>, shard: number): Promise<Sent> {
  for (const item of items(shard, 0, 17)) void write(item);
  await sent.at(-1)!.end();
  const batch = sent.at(-1)!;
  expect(batch).toMatchObject({ shard, items: items(shard, 1, 16).map(({ n }) => n) });
  return batch;
}

describe('createShardBatcher()', () => {
  test('sends at once when idle, and resolves with what each item came to', async () => {
    const write = create();
    const one = write({ shard: 3, n: 1 });
    expect(sent).toMatchObject([{ shard: 3, items: [1], atMs: 0 }]);
    await sent[0]!.end();
    expect(await one).toBe(10);
    const two = write({ shard: 3, n: 2 });
    expect(sent).toHaveLength(2);
    await sent[1]!.end();
    expect(await two).toBe(20);
  });

  test('has one statement a shard in flight, and sends what gathered behind it together', async () => {
    const write = create(5);
    const results = Promise.all(items(1, 0, 9).map(write));
    expect(sentBy()).toEqual([[1, 1]]);
    await sent[0]!.end();
    expect(sentBy().slice(1)).toEqual([[1, 5]]);
    await sent[1]!.end();
    expect(sentBy().slice(2)).toEqual([[1, 3]]);
    await sent[2]!.end();
    expect(await results).toEqual([0, 10, 20, 30, 40, 50, 60, 70, 80]);
  });

  test('has three statements in flight at most, and then sends the shard that waited longest', async () => {
    const write = create();
    for (const shard of [1, 2, 3, 4, 5, 4, 1]) void write({ shard, n: shard });
    expect(sentBy()).toEqual([
      [1, 1],
      [2, 1],
      [3, 1],
    ]);
    await sent[1]!.end();
    await sent[0]!.end();
    await sent[2]!.end();
    expect(sentBy().slice(3)).toEqual([
      [4, 2],
      [5, 1],
      [1, 1],
    ]);
    for (const each of sent.slice(3)) await each.end();
  });

  test('under load waits for a batch that is worthwhile', async () => {
    const write = create();
    await (await load(write, 1)).end();
    for (const item of items(1, 100, 149)) void write(item);
    expect(sent).toHaveLength(2);
    void write({ shard: 1, n: 249 });
    expect(sentBy().slice(2)).toEqual([[1, 150]]);
    await sent[2]!.end();
    vi.runAllTimers();
    expect(sent).toHaveLength(3);
  });

  test('under load waits 10 ms and no longer, whatever else waits', async () => {
    const write = create();
    await (await load(write, 1)).end();
    void write({ shard: 1, n: 1 });
    vi.advanceTimersByTime(4);
    void write({ shard: 2, n: 2 });
    void write({ shard: 1, n: 3 });
    vi.advanceTimersByTime(5);
    expect(sent).toHaveLength(2);
    vi.advanceTimersByTime(20);
    expect(sent.slice(2)).toMatchObject([
      { shard: 1, items: [1, 3], atMs: 10 },
      { shard: 2, items: [2], atMs: 10 },
    ]);
    for (const each of sent.slice(2)) await each.end();
  });

  test('the time of a shard runs from its own first item', async () => {
    const write = create();
    const [, behind] = [await load(write, 1), items(1, 100, 16)];
    for (const item of behind) void write(item);
    await sent[1]!.end();
    vi.advanceTimersByTime(6);
    void write({ shard: 2, n: 2 });
    vi.advanceTimersByTime(4);
    // Its 16 items say that the load goes on.
    expect(sent.slice(2)).toMatchObject([{ shard: 1, atMs: 10 }]);
    vi.advanceTimersByTime(5);
    expect(sent).toHaveLength(3);
    vi.advanceTimersByTime(1);
    expect(sent.slice(3)).toMatchObject([{ shard: 2, atMs: 16 }]);
    for (const each of sent.slice(2)) await each.end();
  });

  test('once the load is over it sends at once again', async () => {
    const write = create();
    await (await load(write, 1)).end();
    void write({ shard: 1, n: 1 });
    vi.advanceTimersByTime(10);
    await sent[2]!.end();
    void write({ shard: 1, n: 2 });
    expect(sent[3]).toMatchObject({ items: [2], atMs: 10 });
    await sent[3]!.end();
  });

  test('what is left over of a full batch does not wait again', async () => {
    const write = create(20);
    for (const item of items(1, 0, 41)) void write(item);
    await sent[0]!.end();
    await sent[1]!.end();
    expect(sentBy()).toEqual([
      [1, 1],
      [1, 20],
      [1, 20],
    ]);
    expect(sent[2]!.atMs).toBe(0);
    await sent[2]!.end();
  });

  test('sends a refused batch one by one, so that a bad item fails alone', async () => {
    const write = create();
    const first = write({ shard: 1, n: 0 });
    const results = Promise.allSettled(items(1, 1, 3).map(write));
    await sent[0]!.end();
    await first;
    await sent[1]!.end(new Error('refused'));
    await sent[2]!.end();
    await sent[3]!.end(new Error('refused'));
    await sent[4]!.end();
    expect(sent.slice(1).map((each) => each.items)).toEqual([[1, 2, 3], [1], [2], [3]]);
    expect((await results).map(({ status }) => status)).toEqual([
      'fulfilled',
      'rejected',
      'fulfilled',
    ]);
  });

  test('rejects a batch that failed for another reason as a whole, and goes on', async () => {
    const write = create();
    const results = Promise.allSettled(items(1, 0, 3).map(write));
    await sent[0]!.end();
    await sent[1]!.end(new Error('away'));
    expect((await results).map(({ status }) => status)).toEqual([
      'fulfilled',
      'rejected',
      'rejected',
    ]);
    const next = write({ shard: 1, n: 7 });
    await sent[2]!.end();
    expect(await next).toBe(70);
  });
});
