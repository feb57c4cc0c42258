import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { MAX_CONTINUATION_DELAY_SECONDS, readContinuation } from '../../src/policy/continuation.ts';
import { LIMIT } from '../../src/protocol/limits.ts';

const CURRENT = 'https://app.example/work/one?x=1';

function read(body: string | Uint8Array, ending: { isTruncated?: true; bodyError?: string } = {}) {
  const bytes = typeof body === 'string' ? new TextEncoder().encode(body) : body;
  return readContinuation({ body: bytes, isTruncated: false, bodyError: null, ...ending }, CURRENT);
}

const readFields = (fields: unknown) => read(JSON.stringify(fields));

describe('readContinuation() of a valid body', () => {
  test('takes the payload alone, with the other fields at their defaults', () => {
    expect(readFields({ payload: 'é' })).toEqual({
      kind: 'continue',
      payload: Uint8Array.of(0xc3, 0xa9),
      delaySeconds: 0,
      progress: null,
      url: null,
      dropAuthorization: false,
    });
  });

  test('takes every field, and drops the fraction of progress', () => {
    const fields = { payload: '', delaySeconds: 0.5, progress: 33.9, url: '/work/two' };
    expect(readFields(fields)).toEqual({
      kind: 'continue',
      payload: new Uint8Array(),
      delaySeconds: 0.5,
      progress: 33,
      url: 'https://app.example/work/two',
      dropAuthorization: false,
    });
  });

  test.each([
    ['two', 'https://app.example/work/two', false],
    ['?page=2', 'https://app.example/work/one?page=2', false],
    ['https://app.example:443/two', 'https://app.example/two', false],
    ['http://app.example/two', 'http://app.example/two', true],
    ['https://app.example:8443/', 'https://app.example:8443/', true],
    ['https://other.example/', 'https://other.example/', true],
    ['//other.example/two', 'https://other.example/two', true],
  ])('resolves url %s and drops Authorization when its origin is another', (url, href, isOther) => {
    expect(readFields({ payload: '', url })).toMatchObject({
      url: href,
      dropAuthorization: isOther,
    });
  });

  test.each([
    ['a payload of exactly the limit', { payload: 'x'.repeat(LIMIT.payloadBytes) }],
    ['the longest delay', { payload: '', delaySeconds: MAX_CONTINUATION_DELAY_SECONDS }],
    ['progress of 0', { payload: '', progress: 0 }],
    ['progress of 100', { payload: '', progress: 100 }],
  ])('takes %s', (_, fields) => {
    expect(readFields(fields).kind).toBe('continue');
  });

  test('takes a body of exactly the limit', () => {
    const json = '{"payload":""}';
    expect(read(json + ' '.repeat(LIMIT.continuationBytes - json.length)).kind).toBe('continue');
    expect(read(json + ' '.repeat(LIMIT.continuationBytes - json.length + 1)).kind).toBe(
      'unsuccessful',
    );
  });
});

describe('readContinuation() is unsuccessful and says why', () => {
  const valid = '{"payload":"p"}';

  test('when the body was cut or broke off, even where what came is valid', () => {
    expect(read(valid, { isTruncated: true })).toMatchObject({
      kind: 'unsuccessful',
      error: 'expected a continuation, but the body must be at most 1572864 bytes, got more',
    });
    expect(read(valid, { bodyError: 'ECONNRESET' })).toMatchObject({
      kind: 'unsuccessful',
      error: 'expected a continuation, but the body broke off: ECONNRESET',
    });
  });

  test.each([
    ['an empty body', '', 'the body must be UTF-8 JSON'],
    ['a body that is no JSON', 'payload=1', 'the body must be UTF-8 JSON'],
    ['half of a body', '{"payload":"p', 'the body must be UTF-8 JSON'],
    ['null', 'null', 'the body must be a JSON object, got null'],
    ['an array', '[]', 'the body must be a JSON object, got []'],
    ['a string', '"p"', 'the body must be a JSON object, got "p"'],
  ])('for %s', (_, body, error) => {
    expect(read(body)).toMatchObject({
      kind: 'unsuccessful',
      error: expect.stringContaining(error),
    });
  });

  test('for bytes that are not UTF-8, within a string of JSON too', () => {
    const body = Uint8Array.from([...new TextEncoder().encode('{"payload":"'), 0xff, 0x22, 0x7d]);
    expect(read(body)).toMatchObject({ kind: 'unsuccessful' });
  });

  test.each([
    [{}, 'payload must be a string of Unicode text, got nothing'],
    [{ payload: 1 }, 'payload must be a string of Unicode text, got 1'],
    [{ payload: { a: 1 } }, 'payload must be a string of Unicode text, got {"a":1}'],
    [{ payload: '\ud800' }, 'payload must be a string of Unicode text, got "\\ud800"'],
    [{ payload: '', delaySeconds: -1 }, 'delaySeconds must be a number from 0 to 2592000, got -1'],
    [{ payload: '', delaySeconds: 2_592_001 }, 'got 2592001'],
    [{ payload: '', delaySeconds: '5' }, 'delaySeconds must be a number'],
    [{ payload: '', delaySeconds: null }, 'delaySeconds must be a number'],
    [{ payload: '', progress: 101 }, 'progress must be a number from 0 to 100, got 101'],
    [{ payload: '', progress: -1 }, 'progress must be a number'],
    [{ payload: '', progress: true }, 'progress must be a number'],
    [{ payload: '', url: 5 }, 'url must be a string, got 5'],
    [{ payload: '', url: null }, 'url must be a string, got null'],
    [{ payload: '', url: 'ftp://app.example/' }, 'url must be an http(s) URL'],
    [{ payload: '', url: 'javascript:alert(1)' }, 'url must be an http(s) URL'],
    [{ payload: '', url: 'http://[' }, 'url must be an http(s) URL'],
    [{ payload: '', url: `/${'x'.repeat(LIMIT.urlCharacters)}` }, 'of at most 2083 characters'],
    [{ payload: '', delay: 5 }, 'the body has an unknown field "delay"'],
  ])('for %j', (fields, error) => {
    expect(readFields(fields)).toMatchObject({
      kind: 'unsuccessful',
      error: expect.stringContaining(error),
    });
  });

  test('for a number too large to be finite, and for a field named __proto__', () => {
    expect(read('{"payload":"","delaySeconds":1e999}').kind).toBe('unsuccessful');
    expect(read('{"payload":"","__proto__":{}}').kind).toBe('unsuccessful');
  });

  test('for a payload over the limit, counted in bytes and not characters', () => {
    expect(readFields({ payload: 'é'.repeat(LIMIT.payloadBytes / 2) }).kind).toBe('continue');
    expect(readFields({ payload: 'é'.repeat(LIMIT.payloadBytes / 2 + 1) })).toMatchObject({
      kind: 'unsuccessful',
      error: expect.stringContaining('payload must be at most 1048576 bytes, got 1048578'),
    });
  });
});

test('readContinuation() of any JSON is either unsuccessful or within every bound', () => {
  const junk = fc.constantFrom<unknown>(null, '', '5', true, [], {}, '\ud800');
  const number = (max: number) => fc.double({ min: -1, max: max + 1, noNaN: true });
  const urls = fc.constantFrom(
    'two',
    '?a=1',
    '//b.example',
    'http://b.example',
    'ftp://b',
    'http://[',
  );
  const bodies = fc.record(
    {
      payload: fc.oneof({ weight: 9, arbitrary: fc.string({ unit: 'grapheme' }) }, junk),
      delaySeconds: fc.oneof(
        { weight: 9, arbitrary: number(MAX_CONTINUATION_DELAY_SECONDS) },
        junk,
      ),
      progress: fc.oneof({ weight: 9, arbitrary: number(100) }, junk),
      url: fc.oneof({ weight: 9, arbitrary: urls }, junk),
    },
    { requiredKeys: ['payload'] },
  );
  fc.assert(
    fc.property(bodies, (body) => {
      const reading = readFields(body);
      if (reading.kind === 'unsuccessful') return;
      expect(reading.delaySeconds).toBeGreaterThanOrEqual(0);
      expect(reading.delaySeconds).toBeLessThanOrEqual(MAX_CONTINUATION_DELAY_SECONDS);
      expect(reading.payload).toEqual(new TextEncoder().encode(body.payload as string));
      if (reading.progress !== null) expect(reading.progress % 1).toBe(0);
      if (reading.url !== null) expect(reading.url).toMatch(/^https?:\/\//);
    }),
  );
});
