import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { DEFAULT_QUEUE_SETTINGS, type RetryPolicy } from '../../src/model.ts';
import type { Responded } from '../../src/policy/answer.ts';
import {
  type Answer,
  decideSettlement,
  describeAnswer,
  resolveRetry,
  type SettlementContext,
} from '../../src/policy/settlement.ts';
import { encode, respond } from './respond.ts';

const retry: RetryPolicy = { ...DEFAULT_QUEUE_SETTINGS.retry, minBackoffSeconds: 10 };

function makeContext(rest: Partial<SettlementContext> = {}): SettlementContext {
  return {
    attempt: 1,
    secondsSinceFirstAttempt: 0,
    retry,
    successStatus: '200',
    url: 'https://app.example/work',
    now: new Date('2026-01-01T00:00:00Z'),
    ...rest,
  };
}

describe('decideSettlement() on Errand-Outcome: continue', () => {
  const outcomeHeader = 'continue';

  test('continues, with progress from the body before the header', () => {
    const rest = { outcomeHeader, progressHeader: '10' };
    const context = makeContext();
    expect(decideSettlement(respond(200, '{"payload":"p"}', rest), context)).toEqual({
      kind: 'continue',
      payload: encode('p'),
      delaySeconds: 0,
      progress: 10,
      url: null,
      dropAuthorization: false,
    });
    const body = '{"payload":"p","progress":0,"url":"https://other.example/"}';
    expect(decideSettlement(respond(200, body, rest), context)).toMatchObject({
      progress: 0,
      url: 'https://other.example/',
      dropAuthorization: true,
    });
  });

  test('continues on the last attempt too: a good answer is never out of attempts', () => {
    const context = makeContext({ attempt: 5, retry: { ...retry, maxAttempts: 5 } });
    expect(decideSettlement(respond(200, '{"payload":""}', { outcomeHeader }), context).kind).toBe(
      'continue',
    );
  });

  test.each([
    ['no JSON', '', {}],
    ['a field of the wrong type', '{"payload":5}', {}],
    ['a body that broke off', '{"payload":"p"}', { bodyError: 'ECONNRESET' }],
    ['a body that was cut', '{"payload":"p"}', { isTruncated: true }],
  ])('retries on %s, and fails only when out of attempts', (_, body, rest) => {
    const answer = respond(200, body, { outcomeHeader, ...rest });
    expect(decideSettlement(answer, makeContext())).toEqual({ kind: 'retry', delaySeconds: 10 });
    const last = makeContext({ retry: { ...retry, maxAttempts: 1 } });
    expect(decideSettlement(answer, last).kind).toBe('fail');
  });
});

test.each(['accepted', 'Failed', 'failed, failed', 'done', ''])(
  'decideSettlement() retries on Errand-Outcome: %j',
  (outcomeHeader) => {
    expect(decideSettlement(respond(200, 'x', { outcomeHeader }), makeContext())).toEqual({
      kind: 'retry',
      delaySeconds: 10,
    });
  },
);

describe('decideSettlement() stops when every limit that is set is reached', () => {
  test.each([
    { maxAttempts: 3, duration: null, attempt: 2, age: 1e9, kind: 'retry' },
    { maxAttempts: 3, duration: null, attempt: 3, age: 0, kind: 'fail' },
    { maxAttempts: 3, duration: 60, attempt: 3, age: 59, kind: 'retry' },
    { maxAttempts: 3, duration: 60, attempt: 2, age: 60, kind: 'retry' },
    { maxAttempts: 3, duration: 60, attempt: 3, age: 60, kind: 'fail' },
    { maxAttempts: 3, duration: 60, attempt: 9, age: 90, kind: 'fail' },
    { maxAttempts: -1, duration: 60, attempt: 1, age: 60, kind: 'fail' },
    { maxAttempts: -1, duration: 60, attempt: 999, age: 59, kind: 'retry' },
    { maxAttempts: -1, duration: null, attempt: 1e6, age: 1e9, kind: 'retry' },
    { maxAttempts: -1, duration: 0, attempt: 1, age: 5, kind: 'retry' },
    { maxAttempts: 3, duration: 0, attempt: 3, age: 0, kind: 'fail' },
    { maxAttempts: 1, duration: null, attempt: 1, age: 0, kind: 'fail' },
  ])('max $maxAttempts in $duration s: attempt $attempt at $age s → $kind', (row) => {
    const context = makeContext({
      attempt: row.attempt,
      secondsSinceFirstAttempt: row.age,
      retry: { ...retry, maxAttempts: row.maxAttempts, maxRetryDurationSeconds: row.duration },
    });
    expect(decideSettlement(respond(500), context).kind).toBe(row.kind);
  });

  test('with a reason that names the attempts and the last error', () => {
    const context = makeContext({ attempt: 100 });
    expect(decideSettlement(respond(500, 'boom'), context)).toEqual({
      kind: 'fail',
      reason: 'gave up after 100 attempts: expected 200, got 500: boom',
      output: null,
    });
  });
});

describe('decideSettlement() on Retry-After', () => {
  test.each([
    ['raises the delay', 503, '120', 120],
    ['does not lower it', 503, '5', 10],
    ['takes an HTTP-date', 429, 'Thu, 01 Jan 2026 00:10:00 GMT', 600],
    ['is bounded to an hour', 503, '999999', 3600],
    ['is bounded even when it is no finite number', 503, '9'.repeat(400), 3600],
    ['is read on a status that is not usually sent with it', 404, '60', 60],
    ['is ignored when it is junk', 503, 'later', 10],
  ])('%s', (_, status, retryAfter, delaySeconds) => {
    expect(decideSettlement(respond(status, '', { retryAfter }), makeContext())).toEqual({
      kind: 'retry',
      delaySeconds,
    });
  });

  test('is bounded by the maximum backoff where that is above an hour', () => {
    const context = makeContext({ retry: { ...retry, maxBackoffSeconds: 7200 } });
    expect(decideSettlement(respond(503, '', { retryAfter: '9000' }), context)).toEqual({
      kind: 'retry',
      delaySeconds: 7200,
    });
  });

  test('does not keep a task alive that is out of attempts', () => {
    const context = makeContext({ attempt: 100 });
    expect(decideSettlement(respond(503, '', { retryAfter: '60' }), context).kind).toBe('fail');
  });
});

test.each(['timed_out', 'unreachable', 'blocked', 'lost'] as const)(
  'decideSettlement() takes %s for a failed attempt like any other',
  (outcome) => {
    const answer: Answer = { outcome, error: 'why' };
    expect(decideSettlement(answer, makeContext({ attempt: 2 }))).toEqual({
      kind: 'retry',
      delaySeconds: 20,
    });
    expect(decideSettlement(answer, makeContext({ attempt: 100 })).kind).toBe('fail');
  },
);

describe('resolveRetry()', () => {
  test('takes the task fields that are set, 0 and null included, and the queue for the rest', () => {
    const queue = { ...retry, maxRetryDurationSeconds: 60 };
    expect(resolveRetry(queue, {})).toEqual(queue);
    expect(resolveRetry(queue, { maxAttempts: undefined })).toEqual(queue);
    const task = { maxAttempts: -1, minBackoffSeconds: 0, maxRetryDurationSeconds: null };
    expect(resolveRetry(queue, task)).toEqual({ ...queue, ...task });
    const rest = { maxBackoffSeconds: 1, maxDoublings: 0 };
    expect(resolveRetry(queue, rest)).toEqual({ ...queue, ...rest });
  });
});

describe('for any answer and context', () => {
  const header = (...values: string[]) =>
    fc.oneof(fc.constant(null), fc.constantFrom(...values), fc.string());
  const text = fc.string({ unit: fc.constantFrom('a', '\0', '😀', '\ud83d'), maxLength: 20 });
  const longText = text.map((part) => part.padEnd(1200, 'x'));
  const bodies = fc.oneof(
    longText.map(encode),
    fc.uint8Array({ maxLength: 40 }),
    fc.jsonValue().map((value) => encode(JSON.stringify(value))),
    fc.record({ payload: fc.string(), delaySeconds: fc.double() }).map((value) => {
      return encode(JSON.stringify(value));
    }),
  );
  const responses = fc.record<Responded>({
    outcome: fc.constant('responded'),
    status: fc.oneof(fc.constant(200), fc.integer({ min: 100, max: 599 })),
    outcomeHeader: header('failed', 'continue', 'accepted'),
    progressHeader: header('50', '101'),
    retryAfter: header('10', '1e9', '99999999999', 'Thu, 01 Jan 2099 00:00:00 GMT'),
    contentType: header('text/plain'),
    fileName: header('a.txt'),
    body: bodies,
    isTruncated: fc.boolean(),
    bodyError: header('ECONNRESET'),
  });
  const answers: fc.Arbitrary<Answer> = fc.oneof(
    { weight: 4, arbitrary: responses },
    fc.record({
      outcome: fc.constantFrom('timed_out', 'unreachable', 'blocked', 'lost'),
      error: fc.oneof(text, longText),
    }),
  );
  const seconds = fc.double({ min: 0, max: 1e9, noNaN: true });
  const contexts = fc.record<SettlementContext>({
    attempt: fc.integer({ min: 1, max: 2 ** 31 }),
    secondsSinceFirstAttempt: seconds,
    retry: fc.record({
      maxAttempts: fc.oneof(fc.constant(-1), fc.integer({ min: 1, max: 2 ** 31 })),
      minBackoffSeconds: seconds,
      maxBackoffSeconds: seconds,
      maxDoublings: fc.nat(),
      maxRetryDurationSeconds: fc.option(seconds),
    }),
    successStatus: fc.constantFrom('200', '2xx'),
    url: fc.constant('https://app.example/work'),
    now: fc.constant(new Date('2026-01-01T00:00:00Z')),
  });
  const check = (property: (answer: Answer, context: SettlementContext) => void) =>
    fc.assert(fc.property(answers, contexts, property), { numRuns: 500 });

  test('decideSettlement() never succeeds or continues but for a success status', () => {
    check((answer, context) => {
      const { kind } = decideSettlement(answer, context);
      if (kind !== 'succeed' && kind !== 'continue') return;
      expect(answer.outcome).toBe('responded');
      const { status } = answer as Responded;
      expect(
        context.successStatus === '200' ? status === 200 : Math.floor(status / 100) === 2,
      ).toBe(true);
    });
  });

  test('decideSettlement() never succeeds when Errand-Outcome is there', () => {
    check((answer, context) => {
      if (answer.outcome !== 'responded' || answer.outcomeHeader === null) return;
      expect(decideSettlement(answer, context).kind).not.toBe('succeed');
    });
  });

  test('decideSettlement() never takes a continuation that is not whole', () => {
    check((answer, context) => {
      if (answer.outcome !== 'responded') return;
      if (!answer.isTruncated && answer.bodyError === null) return;
      const decision = decideSettlement({ ...answer, outcomeHeader: 'continue' }, context);
      expect(['retry', 'fail']).toContain(decision.kind);
    });
  });

  test('decideSettlement() gives a delay that is finite, from the backoff floor to its bound', () => {
    check((answer, context) => {
      const decision = decideSettlement(answer, context);
      if (decision.kind !== 'retry') return;
      const { minBackoffSeconds, maxBackoffSeconds } = context.retry;
      const floor = Math.min(minBackoffSeconds, maxBackoffSeconds);
      expect(decision.delaySeconds).toBeGreaterThanOrEqual(floor);
      expect(decision.delaySeconds).toBeLessThanOrEqual(Math.max(3600, maxBackoffSeconds));
    });
  });

  test('decideSettlement() and describeAnswer() give text that Postgres can hold', () => {
    check((answer, context) => {
      const decision = decideSettlement(answer, context);
      const { error } = describeAnswer(answer, context);
      for (const text of [error, decision.kind === 'fail' ? decision.reason : null]) {
        if (text === null) continue;
        expect(text.length).toBeLessThanOrEqual(1000);
        expect(text.isWellFormed() && !text.includes('\0') && text !== '').toBe(true);
      }
      const isGood = decision.kind === 'succeed' || decision.kind === 'continue';
      expect(error === null).toBe(isGood);
    });
  });
});
