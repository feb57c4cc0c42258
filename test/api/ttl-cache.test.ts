import { describe, expect, it } from 'vitest';
import { createTtlCache } from '../../src/api/ttl-cache.ts';

function setUp(values: Record<string, string | null>, maxEntries = 10) {
  const state = { nowMs: 0, loads: [] as string[] };
  const cache = createTtlCache(
    { ttlMs: 1000, maxEntries },
    (key) => {
      state.loads.push(key);
      return Promise.resolve(values[key] ?? null);
    },
    () => state.nowMs,
  );
  return { cache, state, values };
}

describe('createTtlCache()', () => {
  it('loads once until the time is up', async () => {
    const { cache, state, values } = setUp({ a: 'old' });
    await cache.get('a');
    values.a = 'new';
    state.nowMs = 999;
    expect(await cache.get('a')).toBe('old');
    state.nowMs = 1000;
    expect(await cache.get('a')).toBe('new');
    expect(state.loads).toEqual(['a', 'a']);
  });

  it('shares one load among callers at the same time', async () => {
    const { cache, state } = setUp({ a: '1' });
    expect(await Promise.all([cache.get('a'), cache.get('a')])).toEqual(['1', '1']);
    expect(state.loads).toEqual(['a']);
  });

  it('does not remember what is not there', async () => {
    const { cache, values } = setUp({});
    expect(await cache.get('a')).toBeNull();
    values.a = '1';
    expect(await cache.get('a')).toBe('1');
  });

  it('does not remember a failure', async () => {
    let fails = true;
    const cache = createTtlCache({ ttlMs: 1000, maxEntries: 10 }, () =>
      fails ? Promise.reject(new Error('away')) : Promise.resolve('1'),
    );
    await expect(cache.get('a')).rejects.toThrow('away');
    fails = false;
    expect(await cache.get('a')).toBe('1');
  });

  it('forgets what it is told to, a load in flight too', async () => {
    const { cache, values } = setUp({ a: 'old' });
    const before = cache.get('a');
    cache.forget('a');
    values.a = 'new';
    expect([await before, await cache.get('a')]).toEqual(['old', 'new']);
  });

  it('holds a bounded number, and drops the oldest', async () => {
    const { cache, state } = setUp({ a: '1', b: '2', c: '3' }, 2);
    for (const key of ['a', 'b', 'c', 'c', 'b', 'a']) await cache.get(key);
    expect(state.loads).toEqual(['a', 'b', 'c', 'a']);
  });
});
