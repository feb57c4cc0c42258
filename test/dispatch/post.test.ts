import { gzipSync } from 'node:zlib';
import { describe, expect, test } from 'vitest';
import { createTargetGuard } from '../../src/dispatch/guard.ts';
import type { Answer, Responded } from '../../src/policy/answer.ts';
import { LIMIT } from '../../src/protocol/limits.ts';
import { until } from '../support/until.ts';
import { endless, OK, raw, startPoster, target, timed } from './post-fixture.ts';

describe('post() and its deadline', () => {
  test('bounds the wait for a connection', async () => {
    // TEST-NET addresses drop what is sent to them, or there is no route: both end in time.
    const post = startPoster({ guard: createTargetGuard({ allow: ['192.0.2.0/24'] }) });
    const [answer, tookMs] = await timed(post('http://192.0.2.1/', { deadlineMs: 300 }));
    expect(['timed_out', 'unreachable']).toContain(answer.outcome);
    expect(tookMs).toBeLessThan(1_000);
  });

  test('bounds the wait for headers, and cuts the connection', async () => {
    const silent = await raw(() => {});
    const [answer, tookMs] = await timed(startPoster()(silent.url, { deadlineMs: 200 }));
    expect(answer).toEqual({ outcome: 'timed_out', error: 'no complete answer within 0.2 s' });
    expect(tookMs).toBeGreaterThanOrEqual(195);
    expect(tookMs).toBeLessThan(800);
    await until(() => silent.open() === 0);
  });

  test('bounds headers that never end', async () => {
    const drip = await endless(OK, 'x', 20);
    const [answer, tookMs] = await timed(startPoster()(drip.url, { deadlineMs: 300 }));
    expect(answer.outcome).toBe('timed_out');
    expect(tookMs).toBeLessThan(900);
    await until(() => drip.open() === 0);
  });

  test('bounds interim answers that never end', async () => {
    const processing = await endless('', 'HTTP/1.1 102 Processing\r\n\r\n', 20);
    const [answer, tookMs] = await timed(startPoster()(processing.url, { deadlineMs: 300 }));
    expect(answer.outcome).toBe('timed_out');
    expect(tookMs).toBeLessThan(900);
    await until(() => processing.open() === 0);
  });

  test('bounds a dripped body, and the status line decides', async () => {
    const drip = await endless(`${OK}content-length: 100000\r\n\r\n`, 'x', 20);
    const [answer, tookMs] = await timed(startPoster()(drip.url, { deadlineMs: 300 }));
    expect(answer).toMatchObject({
      outcome: 'responded',
      status: 200,
      bodyError: 'no complete answer within 0.3 s',
    });
    expect((answer as Responded).body.toString()).toMatch(/^x+$/);
    expect(tookMs).toBeLessThan(900);
    await until(() => drip.open() === 0);
  });

  test('counts the wait for a free connection too', async () => {
    const silent = await raw(() => {});
    const post = startPoster({ connections: 1 });
    const calls = [post(silent.url, { deadlineMs: 200 }), post(silent.url, { deadlineMs: 200 })];
    const [answers, tookMs] = await timed(Promise.all(calls));
    expect(answers.map(({ outcome }) => outcome)).toEqual(['timed_out', 'timed_out']);
    expect(tookMs).toBeLessThan(390);
    // The second may still get a connection, but then it is too late to send anything.
    expect(silent.received().match(/POST/g)).toHaveLength(1);
  });
});

describe('post() and bodies', () => {
  test('cuts an endless body at the output limit; success is by the status line', async () => {
    const chunk = `${(32_768).toString(16)}\r\n${'x'.repeat(32_768)}\r\n`;
    const flood = await endless(`${OK}transfer-encoding: chunked\r\n\r\n`, chunk, 1);
    const answer = await startPoster()(flood.url);
    expect(answer).toMatchObject({ outcome: 'responded', status: 200, isTruncated: true });
    expect((answer as Responded).body).toHaveLength(LIMIT.outputBytes);
    await until(() => flood.open() === 0);
  });

  test('keeps a body of just the limit whole', async () => {
    const exact = await target((_, response) => void response.end(Buffer.alloc(LIMIT.outputBytes)));
    const answer = (await startPoster()(exact.url)) as Responded;
    expect(answer).toMatchObject({ isTruncated: false, bodyError: null });
    expect(answer.body).toHaveLength(LIMIT.outputBytes);
  });

  test('reads a continuation whole up to its own limit, and says so beyond it', async () => {
    let size = LIMIT.continuationBytes;
    const worker = await target((_, response) => {
      response.setHeader('Errand-Outcome', 'continue');
      response.end(Buffer.alloc(size, 'y'));
    });
    const post = startPoster();
    const whole = (await post(worker.url)) as Responded;
    expect(whole).toMatchObject({ outcomeHeader: 'continue', isTruncated: false });
    expect(whole.body).toHaveLength(LIMIT.continuationBytes);
    size += 1;
    const cut = (await post(worker.url)) as Responded;
    expect(cut.isTruncated).toBe(true);
    expect(cut.body.length).toBeLessThanOrEqual(LIMIT.continuationBytes);
  });

  test('leaves a compressed body as it came', async () => {
    const bomb = gzipSync(Buffer.alloc(1_000_000));
    const worker = await target((_, response) => {
      response.setHeader('content-encoding', 'gzip');
      response.end(bomb);
    });
    const answer = (await startPoster()(worker.url)) as Responded;
    expect(Buffer.from(answer.body)).toEqual(bomb);
  });

  test('a reset after the status line keeps the status, with what had come of the body', async () => {
    const cut = await raw((socket) => {
      socket.write(`${OK}content-length: 100\r\n\r\npart`, () =>
        setTimeout(() => socket.resetAndDestroy(), 50),
      );
    });
    const answer = (await startPoster()(cut.url)) as Responded;
    expect(answer).toMatchObject({ outcome: 'responded', status: 200 });
    expect(answer.bodyError).not.toBeNull();
    expect(answer.body.toString()).toBe('part');
  });

  test.each([
    ['204 No Content', 204],
    ['304 Not Modified', 304],
  ])('%s has no body', async (line, status) => {
    const worker = await raw((socket) => socket.write(`HTTP/1.1 ${line}\r\n\r\n`));
    const answer = await startPoster()(worker.url);
    expect(answer).toMatchObject({ outcome: 'responded', status, bodyError: null });
    expect((answer as Responded).body).toHaveLength(0);
  });

  test('200 endless bodies at once, in chunks of one byte, are not gathered chunk by chunk', async () => {
    const bytes = '1\r\nx\r\n'.repeat(10_000);
    const flood = await endless(`${OK}transfer-encoding: chunked\r\n\r\n`, bytes, 5);
    const post = startPoster();
    await post(flood.url);
    const answers: Answer[] = [];
    const before = process.memoryUsage.rss();
    let most = 0;
    const watch = setInterval(() => {
      most = Math.max(most, process.memoryUsage.rss());
    }, 10);
    for (let round = 0; round < 4; round++) {
      const calls = Array.from({ length: 50 }, () => post(flood.url));
      answers.push(...(await Promise.all(calls)));
    }
    clearInterval(watch);
    const lengths = new Set(answers.map((answer) => (answer as Responded).body.length));
    expect(lengths).toEqual(new Set([LIMIT.outputBytes]));
    // Kept as chunks they took over 600 MB.
    expect((most - before) / 1e6).toBeLessThan(150);
  });
});
