import { describe, expect, test } from 'vitest';
import { describeAnswer, type Expectation, readAnswer } from '../../src/policy/answer.ts';
import { LIMIT } from '../../src/protocol/limits.ts';
import { encode, respond } from './respond.ts';

const expectation: Expectation = { successStatus: '200', url: 'https://app.example/work' };

describe('readAnswer() on a success status', () => {
  test('succeeds with the body, its type and its file name as output', () => {
    const answer = respond(200, 'done', { contentType: 'text/plain', fileName: 'a.txt' });
    expect(readAnswer(answer, expectation)).toEqual({
      kind: 'succeed',
      output: {
        body: encode('done'),
        contentType: 'text/plain',
        fileName: 'a.txt',
        isTruncated: false,
      },
      progress: null,
    });
  });

  test('succeeds without output when the body is empty', () => {
    expect(readAnswer(respond(200), expectation)).toEqual({
      kind: 'succeed',
      output: null,
      progress: null,
    });
  });

  test('cuts the output at its limit and says so', () => {
    const whole = respond(200, 'x'.repeat(LIMIT.outputBytes));
    expect(readAnswer(whole, expectation)).toMatchObject({
      output: { isTruncated: false },
    });
    const decision = readAnswer(respond(200, 'x'.repeat(LIMIT.outputBytes + 1)), expectation);
    expect(decision).toMatchObject({ kind: 'succeed', output: { isTruncated: true } });
    expect(decision.kind === 'succeed' && decision.output?.body.length).toBe(LIMIT.outputBytes);
  });

  test.each([
    ['the body broke off', { bodyError: 'ECONNRESET' }],
    ['the body was longer than what was read', { isTruncated: true }],
  ])('still succeeds when %s, with truncated output', (_, rest) => {
    for (const body of ['', 'half']) {
      expect(readAnswer(respond(200, body, rest), expectation)).toMatchObject({
        kind: 'succeed',
        output: { body: encode(body), isTruncated: true },
      });
    }
  });

  test('removes NUL bytes from the file name and content type', () => {
    const answer = respond(200, 'x', { fileName: 'a\0b', contentType: 'text/\0plain' });
    expect(readAnswer(answer, expectation)).toMatchObject({
      output: { fileName: 'ab', contentType: 'text/plain' },
    });
  });

  test.each([
    ['0', 0],
    ['100', 100],
    [' 42 ', 42],
    ['42.9', 42],
    ['101', null],
    ['100.5', null],
    ['-1', null],
    ['1e1', null],
    ['0x10', null],
    ['half', null],
    ['', null],
    [null, null],
  ])('reads Errand-Progress %j as %j and never fails on it', (progressHeader, progress) => {
    expect(readAnswer(respond(200, '', { progressHeader }), expectation)).toEqual({
      kind: 'succeed',
      output: null,
      progress,
    });
  });

  test.each([
    [200, '200', 'succeed'],
    [201, '200', 'unsuccessful'],
    [204, '200', 'unsuccessful'],
    [200, '2xx', 'succeed'],
    [299, '2xx', 'succeed'],
    [199, '2xx', 'unsuccessful'],
    [300, '2xx', 'unsuccessful'],
    [302, '2xx', 'unsuccessful'],
    [500, '2xx', 'unsuccessful'],
  ] as const)(
    'reads status %i on a queue of successStatus %s as %s',
    (status, successStatus, kind) => {
      expect(readAnswer(respond(status), { ...expectation, successStatus }).kind).toBe(kind);
    },
  );
});

describe('readAnswer() on Errand-Outcome: failed', () => {
  const outcomeHeader = 'failed';

  test('fails with the body as reason and output; half a body will do', () => {
    const answer = respond(200, 'no such us\0er', { outcomeHeader, bodyError: 'ECONNRESET' });
    expect(readAnswer(answer, expectation)).toMatchObject({
      kind: 'fail',
      reason: 'no such user',
      output: { isTruncated: true },
    });
  });

  test('bounds the reason and replaces what is not UTF-8', () => {
    const body = Uint8Array.from([0xff, ...encode('x'.repeat(5000))]);
    const decision = readAnswer(respond(200, '', { outcomeHeader, body }), expectation);
    expect(decision).toMatchObject({ kind: 'fail', reason: `\uFFFD${'x'.repeat(998)}…` });
  });

  test('says so when there is no reason', () => {
    expect(readAnswer(respond(200, ' ', { outcomeHeader }), expectation)).toMatchObject({
      reason: 'the worker answered Errand-Outcome: failed, without a reason',
    });
  });

  test('is not read on any other status', () => {
    const answer = respond(500, 'no', { outcomeHeader });
    expect(readAnswer(answer, expectation).kind).toBe('unsuccessful');
  });
});

describe('describeAnswer()', () => {
  test.each([
    [respond(200, 'x'), 200, null],
    [respond(200, '{"payload":""}', { outcomeHeader: 'continue' }), 200, null],
    [respond(200, 'no user', { outcomeHeader: 'failed' }), 200, 'no user'],
    [
      respond(200, '', { outcomeHeader: 'accepted' }),
      200,
      'expected Errand-Outcome to be absent, failed or continue, got "accepted"',
    ],
    [
      respond(200, '[]', { outcomeHeader: 'continue' }),
      200,
      'expected a continuation, but the body must be a JSON object, got []',
    ],
    [respond(500), 500, 'expected 200, got 500'],
    [respond(500, ' bo\0om\n'), 500, 'expected 200, got 500: boom'],
    [respond(204), 204, 'expected 200, got 204'],
    [respond(302), 302, 'expected 200, got 302 (redirects are not followed)'],
    [
      { outcome: 'timed_out', error: 'after 600 s' } as const,
      null,
      'expected 200, got no answer (timed out: after 600 s)',
    ],
    [{ outcome: 'lost', error: '' } as const, null, 'expected 200, got no answer (lost)'],
  ])('of case %#', (answer, status, error) => {
    expect(describeAnswer(answer, expectation)).toEqual({ status, error });
  });

  test('names 2xx where the queue says so', () => {
    const context = { ...expectation, successStatus: '2xx' as const };
    expect(describeAnswer(respond(204), context).error).toBeNull();
    expect(describeAnswer(respond(500), context).error).toBe('expected 2xx, got 500');
  });
});
