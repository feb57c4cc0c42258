import { beforeEach, describe, expect, it } from 'vitest';
import { createRefreshingCache } from '../../src/api/refreshing-cache.ts';

let nowMs: number;
let loads: { key: string; answer: (value: string | null) => void; fail: () => void }[];

beforeEach(() => {
  nowMs = 0;
  loads = [];
});

const create = (maxEntries = 10) =>
  createRefreshingCache<string>(
    { ttlMs: 1_000, refreshAfterMs: 500, maxEntries },
    (key) => {
      const { promise, resolve, reject } = Promise.withResolvers<string | null>();
      loads.push({ key, answer: resolve, fail: () => reject(new Error('away')) });
      return promise;
    },
    () => nowMs,
  );

/** Asks, and answers what was asked for. */
async function filled(value: string | null) {
  const cache = create();
  const got = cache.get('a');
  loads[0]!.answer(value);
  expect(await got).toBe(value);
  return cache;
}

describe('createRefreshingCache()', () => {
  it('answers at once what is fresh', async () => {
    const cache = await filled('one');
    nowMs = 499;
    expect(cache.get('a')).toBe('one');
    expect(loads).toHaveLength(1);
  });

  it('reads again behind the back of whoever asks, once', async () => {
    const cache = await filled('one');
    nowMs = 500;
    expect([cache.get('a'), cache.get('a')]).toEqual(['one', 'one']);
    expect(loads).toHaveLength(2);
    loads[1]!.answer('two');
    await Promise.resolve();
    await Promise.resolve();
    expect(cache.get('a')).toBe('two');
  });

  it('uses nothing for longer than the ttl after it was asked for', async () => {
    const cache = await filled('one');
    nowMs = 1_000;
    const late = cache.get('a');
    expect(late).toBeInstanceOf(Promise);
    loads[1]!.answer(null);
    expect(await late).toBeNull();
    expect(cache.get('a')).toBeInstanceOf(Promise);
  });

  it('forgets at once, also what is on its way', async () => {
    const cache = await filled('one');
    nowMs = 500;
    cache.get('a');
    cache.forget('a');
    const fresh = cache.get('a');
    expect(loads).toHaveLength(3);
    loads[1]!.answer('stale');
    loads[2]!.answer('new');
    expect(await fresh).toBe('new');
    expect(cache.get('a')).toBe('new');
  });

  it('remembers no failure, and survives one behind the back', async () => {
    const cache = await filled('one');
    nowMs = 500;
    expect(cache.get('a')).toBe('one');
    loads[1]!.fail();
    nowMs = 1_000;
    const late = cache.get('a');
    loads[1]!.fail();
    await Promise.resolve();
    await expect(late).rejects.toThrow('away');
  });

  it('keeps so many and no more, the oldest goes first', async () => {
    const cache = create(2);
    for (const [at, key] of ['a', 'b', 'c'].entries()) {
      const got = cache.get(key);
      loads[at]!.answer(key);
      await got;
    }
    expect([cache.get('b'), cache.get('c')]).toEqual(['b', 'c']);
    expect(cache.get('a')).toBeInstanceOf(Promise);
  });
});
