import { type ChildProcess, fork } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import pLimit from 'p-limit';
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import type { Answer } from '../../src/policy/answer.ts';
import { LIMIT } from '../../src/protocol/limits.ts';
import { startPoster } from '../dispatch/post-fixture.ts';
import { AUTHORITY } from '../support/certificates.ts';
import type { HostileTarget } from './hostile-targets.ts';

const DEADLINE_MS = 2_000;
const CALLS = 500;
const SLOTS = 32;
const MOST_GROWTH_BYTES = 50 * 1024 * 1024;

let child: ChildProcess;
let targets: HostileTarget[];
let call: (url: string, deadlineMs?: number) => Promise<Answer>;

beforeAll(async () => {
  child = fork(join(import.meta.dirname, 'serve-hostile-targets.ts'), { execArgv: [] });
  [targets] = (await once(child, 'message')) as [HostileTarget[]];
});

beforeEach(() => {
  const post = startPoster({ connections: 32, ca: AUTHORITY });
  call = (url, deadlineMs = DEADLINE_MS) => post(url, { deadlineMs, body: Buffer.alloc(1_000) });
});

afterAll(async () => {
  const ended = once(child, 'exit');
  child.kill();
  await ended;
});

describe('a hostile target', () => {
  test('ends its call by the deadline + 1 s, with the right outcome', async () => {
    const results = await pLimit(SLOTS).map(targets, judge);
    expect(results.filter((result) => result !== null)).toEqual([]);
    expect(results.length).toBeGreaterThanOrEqual(50);
  });

  test('is never read further than what is kept of an answer', async () => {
    const answers = await Promise.all(targets.map(({ url }) => call(url)));
    for (const [at, answer] of answers.entries()) {
      if (answer.outcome !== 'responded') continue;
      expect(answer.body.length).toBeLessThanOrEqual(LIMIT.outputBytes);
      expect(answer.body.buffer.byteLength).toBeLessThanOrEqual(LIMIT.outputBytes);
      if (!/sends (a body|chunks) without end/.test(targets[at]!.name)) continue;
      // Cut off at the limit, and not by the deadline.
      expect(answer).toMatchObject({ isTruncated: true, bodyError: null });
    }
  });

  test(`makes memory grow by less than 50 MB over ${CALLS} calls`, async () => {
    const collectGarbage = garbageCollector();
    // What so many at once need, and what is compiled and cached once, is not growth.
    await callAll();
    collectGarbage();
    const before = process.memoryUsage();
    await callAll();
    collectGarbage();
    const after = process.memoryUsage();
    const held = after.heapUsed + after.external - before.heapUsed - before.external;
    expect(held).toBeLessThan(MOST_GROWTH_BYTES);
    expect(after.rss - before.rss).toBeLessThan(MOST_GROWTH_BYTES);
  });
});

async function callAll(): Promise<void> {
  const slots = pLimit(SLOTS);
  const urls = Array.from({ length: CALLS }, (_, at) => targets[at % targets.length]!.url);
  await slots.map(urls, (url) => call(url, 300));
}

/** Null when all is as it should be, else what is wrong. */
async function judge({ name, url, expected }: HostileTarget): Promise<object | null> {
  // What is to end by itself has time for it, however busy this machine is.
  const deadlineMs = expected === 'unreachable' ? 5 * DEADLINE_MS : DEADLINE_MS;
  const startMs = performance.now();
  const answer = await call(url, deadlineMs);
  const tookMs = performance.now() - startMs;
  const got = answer.outcome === 'responded' ? answer.status : answer.outcome;
  const error = answer.outcome === 'responded' ? answer.bodyError : answer.error;
  const isRight = got === expected && tookMs <= deadlineMs + 1_000;
  return isRight ? null : { name, expected, got, error, tookMs };
}

function garbageCollector(): () => void {
  setFlagsFromString('--expose-gc');
  return runInNewContext('gc');
}
