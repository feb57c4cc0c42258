import { describe, expect, test } from 'vitest';
import { createAnswerHandler } from '../../src/dispatch/answer-handler.ts';
import { TargetBlocked } from '../../src/dispatch/guard.ts';
import type { Answer, Responded } from '../../src/policy/answer.ts';
import { LIMIT } from '../../src/protocol/limits.ts';

function start(deadlineMs = 60_000) {
  const answers: Answer[] = [];
  const aborts: Error[] = [];
  const first = Promise.withResolvers<Answer>();
  const handler = createAnswerHandler({ deadlineMs }, (answer) => {
    answers.push(answer!);
    first.resolve(answer!);
  });
  const controller = { abort: (reason: Error) => void aborts.push(reason) };
  return { handler, controller, answers, aborts, first: first.promise };
}

function respond(call: ReturnType<typeof start>, headers = {}, status = 200): void {
  call.handler.onRequestStart(call.controller);
  call.handler.onResponseStart(null, status, headers);
}

describe('createAnswerHandler()', () => {
  test('resolves once, whatever comes after the end', () => {
    const call = start();
    respond(call);
    call.handler.onResponseData(null, Buffer.from('ok'));
    call.handler.onResponseEnd(null);
    call.handler.onResponseData(null, Buffer.from('more'));
    call.handler.onResponseError(null, new Error('late'));
    call.handler.onResponseEnd(null);
    expect(call.answers).toHaveLength(1);
    expect((call.answers[0] as Responded).body.toString()).toBe('ok');
    expect(call.aborts).toEqual([]);
  });

  test('aborts a request that starts only after its deadline', async () => {
    const call = start(1);
    expect(await call.first).toEqual({
      outcome: 'timed_out',
      error: 'no complete answer within 0.001 s',
    });
    call.handler.onRequestStart(call.controller);
    expect(call.aborts).toHaveLength(1);
    call.handler.onResponseError(null, call.aborts[0]!);
    expect(call.answers).toHaveLength(1);
  });

  test('aborts at the limit, and keeps just that much', () => {
    const call = start();
    respond(call);
    const chunk = Buffer.alloc(40_000, 'a');
    call.handler.onResponseData(null, chunk);
    expect(call.answers).toEqual([]);
    call.handler.onResponseData(null, chunk);
    expect(call.aborts).toHaveLength(1);
    expect(call.answers).toMatchObject([{ outcome: 'responded', isTruncated: true }]);
    expect((call.answers[0] as Responded).body).toHaveLength(LIMIT.outputBytes);
  });

  test('keeps bytes in order however they are cut into chunks', () => {
    const call = start();
    respond(call);
    const whole = Buffer.from(Array.from({ length: 5_000 }, (_, index) => index % 251));
    let at = 0;
    for (let size = 1; at < whole.length; size = (size * 3) % 97) {
      call.handler.onResponseData(null, whole.subarray(at, at + size));
      at += size;
    }
    call.handler.onResponseEnd(null);
    expect(Buffer.from((call.answers[0] as Responded).body)).toEqual(whole);
  });

  test('reads the headers that mean something, the first of each', () => {
    const call = start();
    respond(call, {
      'errand-outcome': ['failed', 'continue'],
      'errand-progress': '50',
      'retry-after': '7',
      'content-type': 'text/plain',
      'content-disposition': 'attachment; filename=C:\\reports\\june.csv; size=1',
    });
    call.handler.onResponseEnd(null);
    expect(call.answers[0]).toMatchObject({
      outcomeHeader: 'failed',
      progressHeader: '50',
      retryAfter: '7',
      contentType: 'text/plain',
      fileName: 'june.csv',
    });
  });

  test('a failure before the status line is unreachable, with its code', () => {
    const call = start();
    call.handler.onRequestStart(call.controller);
    const error = Object.assign(new Error('connect refused'), { code: 'ECONNREFUSED' });
    call.handler.onResponseError(null, error);
    expect(call.answers).toEqual([
      { outcome: 'unreachable', error: 'ECONNREFUSED: connect refused' },
    ]);
  });

  test('a refused target is blocked, also as the cause of another error', () => {
    const blocked = new TargetBlocked('db.internal', '10.0.0.1');
    for (const error of [blocked, new Error('connect failed', { cause: blocked })]) {
      const call = start();
      call.handler.onResponseError(null, error);
      expect(call.answers).toEqual([{ outcome: 'blocked', error: blocked.message }]);
    }
  });
});
