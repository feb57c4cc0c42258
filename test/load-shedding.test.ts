import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { createLoadShedder, defaultLoadLimits, type LoadShedder } from '../src/load-shedding.ts';

const MiB = 1024 * 1024;
const LIMITS = {
  requests: 3,
  bodyBytes: 20 * MiB,
  loopDelayMs: 1_000,
  answerMs: 3_000,
  slowRequests: 2,
};

let shedder: LoadShedder;
let nowMs = 0;

beforeEach(() => {
  vi.useFakeTimers({ toFake: ['setInterval', 'clearInterval'] });
  nowMs = 0;
  shedder = createLoadShedder(LIMITS, () => nowMs);
});
afterEach(() => {
  shedder.close();
  vi.useRealTimers();
});

/** A request that is in flight until it is told to end. */
function start(contentLength: number | null = 0): {
  end(): Promise<number>;
  status: Promise<number>;
} {
  const { promise, resolve } = Promise.withResolvers<Response>();
  const status = Promise.resolve(shedder.admit(contentLength, () => promise)).then((r) => r.status);
  return {
    status,
    end() {
      resolve(new Response());
      return status;
    },
  };
}

async function statusOf(contentLength: number | null = 0): Promise<number> {
  return (await shedder.admit(contentLength, () => new Response())).status;
}

/** Time passes, and the looks come `lateMs` later than they should. */
function pass(looks: number, lateMs = 0): void {
  for (let n = 0; n < looks; n += 1) {
    nowMs += 250 + lateMs;
    vi.advanceTimersByTime(250);
  }
}

describe('admit()', () => {
  it('refuses what would be one request too many, with a problem and Retry-After', async () => {
    const held = [start(), start(), start()];
    const refused = await shedder.admit(0, () => new Response());
    expect(refused.headers.get('retry-after')).toBe('1');
    expect(refused.headers.get('content-type')).toBe('application/problem+json');
    expect(await refused.json()).toMatchObject({
      status: 503,
      code: 'overloaded',
      detail: 'Nothing was done, for 3 requests are in flight; repeat the request later',
    });
    expect(await held[0]!.end()).toBe(200);
    expect(await statusOf()).toBe(200);
  });

  it('refuses bodies beyond the bytes it may hold, be their length known or not', async () => {
    const held = start(7 * MiB);
    expect(await statusOf(null)).toBe(200);
    const more = start(8 * MiB);
    expect(await statusOf(null)).toBe(503);
    expect(await statusOf(6 * MiB)).toBe(503);
    expect(await statusOf(5 * MiB)).toBe(200);
    await held.end();
    expect(await statusOf(null)).toBe(200);
    await more.end();
  });

  it('counts a body that no route takes as the longest one, for it is refused unread', async () => {
    expect(await statusOf(10_000 * MiB)).toBe(200);
  });

  it('lets go of a request that fails', async () => {
    for (let n = 0; n < 5; n += 1) {
      const failing = shedder.admit(0, () => Promise.reject(new Error('no')));
      await expect(failing).rejects.toThrow('no');
    }
    expect(await statusOf()).toBe(200);
  });

  it('refuses while the event loop is late twice in a row, not after one freeze', async () => {
    pass(1, 15_000);
    expect(await statusOf()).toBe(200);
    pass(1);
    pass(2, 1_001);
    expect(await statusOf()).toBe(503);
    pass(1);
    expect(await statusOf()).toBe(200);
  });

  it('refuses while even the quickest request of a second takes too long', async () => {
    const slow = [start(), start()];
    pass(13);
    await slow[0]!.end();
    pass(4);
    const other = start();
    expect(await other.end()).toBe(200); // One in flight is no overload, however slow.
    pass(4);
    expect(await statusOf()).toBe(200);
    await slow[1]!.end();
  });

  it('refuses no more when requests are quick again, or none is left', async () => {
    const slow = [start(), start(), start()];
    pass(16);
    await slow[0]!.end();
    pass(4);
    expect(await statusOf()).toBe(503);
    await slow[1]!.end();
    await slow[2]!.end();
    pass(1);
    expect(await start().end()).toBe(200);
  });
});

describe('defaultLoadLimits()', () => {
  it.each([
    [256 * MiB, 16 * MiB],
    [512 * MiB, 32 * MiB],
  ])('of %i bytes of memory lets bodies have %i', (memory, bytes) => {
    expect(defaultLoadLimits(memory).bodyBytes).toBe(bytes);
  });

  it('lets bodies have 16 to 256 MiB, however much memory there is said to be', () => {
    expect(defaultLoadLimits(1).bodyBytes).toBe(16 * MiB);
    expect(defaultLoadLimits(2 ** 60).bodyBytes).toBeLessThanOrEqual(256 * MiB);
  });
});
