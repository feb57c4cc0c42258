import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { LIMIT } from '../../src/protocol/limits.ts';
import { type ApiFixture, createApiFixture, expectProblem } from './api-fixture.ts';

let fixture: ApiFixture;
let call: ApiFixture['call'];
const path = '/v1/queues/bad';

beforeAll(async () => {
  fixture = await createApiFixture();
  ({ call } = fixture);
});
afterAll(() => fixture.close());

const RATE = 'a number above 0, at most 1000000';
const ATTEMPTS = '−1 (unlimited) or an integer from 1 to 1000000';
const DEADLINE = 'a number from 1 to 86400';
const LONG = 'a number from 0 to 315360000';
const HEADER_NAME = 'a header name of 1 to 200 token characters (RFC 9110)';
const HEADER_VALUE = 'a value of Latin-1 characters without control characters';
const RESERVED = 'a header that is not reserved for HTTP or Errand';
const TEXT = 'text of 1 to 500 characters, without NUL and lone surrogates';
const URL_TEXT = 'text of 1 to 2083 characters, without NUL and lone surrogates';
const URL_EXPECTED = 'an absolute http or https URL';
const NO_FIELD = 'no field of this name';
/** What is said of a header’s value, which may be a credential. */
const text = (characters: number) => `text of ${characters} characters`;
const headers = (value: unknown) => ({ target: { headers: value } });
const baseUrl = (value: unknown) => ({ target: { baseUrl: value } });

describe.each(['PUT', 'PATCH'])('%s of a queue names what is wrong with', (method) => {
  it.each<[string, unknown, [pointer: string, expected: string, received: string]]>([
    ['an array', [], ['', 'an object', 'an array of 0']],
    ['null', null, ['', 'an object', 'null']],
    ['text', '"text"', ['', 'an object', '"text"']],
    ['an unknown field', { size: 3 }, ['/size', NO_FIELD, '3']],
    ['a deep unknown field', { retry: { 'a/b~c': {} } }, ['/retry/a~1b~0c', NO_FIELD, 'an object']],
    ['__proto__', '{"__proto__": {}}', ['/__proto__', NO_FIELD, 'an object']],
    ['no rate', rate(0), ['/rateLimits/maxDispatchesPerSecond', RATE, '0']],
    ['a high rate', rate(1e6 + 1), ['/rateLimits/maxDispatchesPerSecond', RATE, '1000001']],
    ['a rate as text', rate('5'), ['/rateLimits/maxDispatchesPerSecond', RATE, '"5"']],
    ['half a burst', { rateLimits: { maxBurstSize: 1.5 } }, burst('1.5')],
    ['no burst', { rateLimits: { maxBurstSize: 0 } }, burst('0')],
    ['no attempts', { retry: { maxAttempts: 0 } }, ['/retry/maxAttempts', ATTEMPTS, '0']],
    ['-2 attempts', { retry: { maxAttempts: -2 } }, ['/retry/maxAttempts', ATTEMPTS, '-2']],
    ['a null section', { retry: null }, ['/retry', 'an object', 'null']],
    ['a negative backoff', backoff(-1), ['/retry/minBackoffSeconds', LONG, '-1']],
    [
      'a minimum above the maximum',
      { retry: { minBackoffSeconds: 2, maxBackoffSeconds: 1 } },
      ['/retry/maxBackoffSeconds', 'a number not below minBackoffSeconds', '1'],
    ],
    ['no deadline', deadline(0), ['/dispatchDeadlineSeconds', DEADLINE, '0']],
    ['a long deadline', deadline(86_401), ['/dispatchDeadlineSeconds', DEADLINE, '86401']],
    [
      'infinity',
      '{"dispatchDeadlineSeconds": 1e999}',
      ['/dispatchDeadlineSeconds', DEADLINE, 'Infinity'],
    ],
    ['a status', { successStatus: '3xx' }, ['/successStatus', '"200" or "2xx"', '"3xx"']],
    ['an empty audience', { audience: '' }, ['/audience', TEXT, '""']],
    ['NUL', { audience: 'a\0b' }, ['/audience', TEXT, '"a\\u0000b"']],
    ['half a surrogate pair', '{"audience": "\\ud800"}', ['/audience', TEXT, '"\\ud800"']],
    [
      'a long audience',
      { audience: 'a'.repeat(501) },
      ['/audience', TEXT, `"${'a'.repeat(59)}… (501 characters)`],
    ],
    ['a path', baseUrl('/tasks'), ['/target/baseUrl', URL_EXPECTED, '"/tasks"']],
    ['another scheme', baseUrl('ftp://a/'), ['/target/baseUrl', URL_EXPECTED, '"ftp://a/"']],
    [
      'a password',
      baseUrl('https://u:p@a.example/'),
      [
        '/target/baseUrl',
        'a URL without user name and password: send an Authorization header instead',
        '"https://…@a.example/"',
      ],
    ],
    [
      'a fragment',
      baseUrl('https://a.example/#'),
      ['/target/baseUrl', 'a URL without a fragment', '"https://a.example/#"'],
    ],
    ['NUL in a URL', baseUrl('https://a/\0'), ['/target/baseUrl', URL_TEXT, '"https://a/\\u0000"']],
    ['a reserved header', headers({ Host: 'a' }), ['/target/headers/Host', RESERVED, text(1)]],
    [
      'one of ours',
      headers({ 'Errand-Step': 'a' }),
      ['/target/headers/Errand-Step', RESERVED, text(1)],
    ],
    ['a header name', headers({ 'a b': 'c' }), ['/target/headers/a b', HEADER_NAME, text(1)]],
    ['an empty name', headers({ '': 'c' }), ['/target/headers/', HEADER_NAME, text(1)]],
    ['a line break', headers({ a: 'b\r\nc' }), ['/target/headers/a', HEADER_VALUE, text(4)]],
    ['a value beyond Latin-1', headers({ a: '€' }), ['/target/headers/a', HEADER_VALUE, text(1)]],
    ['NUL in a value', headers({ a: '\0' }), ['/target/headers/a', HEADER_VALUE, text(1)]],
    ['a number as value', headers({ a: 1 }), ['/target/headers/a', 'text', '1']],
    [
      'a header twice',
      headers({ A: '1', a: '2' }),
      ['/target/headers', 'each header once, whatever its case', 'an object'],
    ],
    [
      'many headers',
      headers(Object.fromEntries(Array.from({ length: 65 }, (_, i) => [`h${i}`, '']))),
      ['/target/headers', 'at most 64 headers', 'an object'],
    ],
    [
      'long headers',
      headers({ a: 'b'.repeat(16_384) }),
      ['/target/headers', 'headers of at most 16384 bytes in all', 'an object'],
    ],
  ])('%s', async (_, body, [pointer, expected, received]) => {
    const problem = expectProblem(await call(method, path, { body }), 'invalid-request');
    expect(problem.errors).toEqual([{ pointer, expected, received }]);
    expect(problem.detail).toBe(`${pointer || 'The body'}: expected ${expected}, got ${received}`);
  });

  it('several fields, all at once', async () => {
    const body = { audience: 1, successStatus: 1, extra: 1 };
    const problem = expectProblem(await call(method, path, { body }), 'invalid-request');
    const pointers = problem.errors.map((error: { pointer: string }) => error.pointer);
    expect(pointers.sort()).toEqual(['/audience', '/extra', '/successStatus']);
    expect(problem.detail).toMatch(/\(and 2 more\)$/);
  });

  it('an unknown query parameter', async () => {
    const answer = await call(method, `${path}?dry=1`, { body: {} });
    expect(expectProblem(answer, 'invalid-request').errors).toEqual([
      { pointer: '?dry', expected: NO_FIELD, received: '"1"' },
    ]);
  });
});

describe('A body', () => {
  it.each([
    ['broken', '{'],
    ['empty', ''],
    ['of two values', '{} {}'],
    ['with a raw NUL', '{"audience": "\0"}'],
    ['that is not UTF-8', new Uint8Array([0x22, 0xff, 0x22])],
  ])('%s is refused as invalid-json', async (_, body) => {
    expectProblem(await call('PUT', path, { body }), 'invalid-json');
  });

  it.each(['text/plain', 'application/x-www-form-urlencoded', 'json', ''])(
    'of type "%s" is refused as unsupported-media-type',
    async (type) => {
      const headers = { 'content-type': type };
      expectProblem(await call('PUT', path, { body: '{}', headers }), 'unsupported-media-type');
    },
  );

  it('without a type is refused as unsupported-media-type', async () => {
    const body = new TextEncoder().encode('{}');
    const answer = await call('PUT', path, { body, headers: { 'content-type': null } });
    expectProblem(answer, 'unsupported-media-type');
  });

  it.each(['application/json; charset=utf-8', 'application/merge-patch+json'])(
    'of type "%s" is taken',
    async (type) => {
      const answer = await call('PUT', path, { body: {}, headers: { 'content-type': type } });
      expect([200, 201]).toContain(answer.status);
    },
  );

  it('that says it is too large is refused before it is read', async () => {
    const headers = { 'content-length': String(LIMIT.requestBytes + 1) };
    const answer = await call('PUT', path, { body: '{}', headers });
    expectProblem(answer, 'body-too-large');
    expect(answer.headers.get('connection')).toBe('close');
  });

  it('that grows too large is read no further', async () => {
    let sent = 0;
    const chunk = new Uint8Array(256 * 1024).fill(0x20);
    const body = new ReadableStream({
      pull(controller) {
        sent += chunk.length;
        controller.enqueue(chunk);
      },
    });
    const response = await fixture.api.request(path, {
      method: 'PUT',
      body,
      headers: {
        authorization: `Bearer ${fixture.adminKey}`,
        'content-type': 'application/json',
      },
      duplex: 'half',
    } as RequestInit);
    expect(response.status).toBe(413);
    expect(sent).toBeLessThan(LIMIT.requestBytes + 4 * chunk.length);
  });

  it('is bounded on every route that takes one', async () => {
    const document = (await call('GET', '/openapi.json')).body;
    const routes = Object.entries<Record<string, { requestBody?: object }>>(document.paths).flatMap(
      ([route, operations]) =>
        Object.entries(operations)
          .filter(([, operation]) => operation.requestBody)
          .map(([method]) => [method.toUpperCase(), route.replaceAll(/\{\w+\}/g, 'a'.repeat(32))]),
    );
    expect(routes.length).toBeGreaterThan(0);
    for (const [method = '', route = ''] of routes) {
      const headers = { 'content-length': String(LIMIT.batchRequestBytes + 1) };
      const answer = await call(method, route, { body: '{}', headers });
      expect([method, route, answer.status]).toEqual([method, route, 413]);
    }
  });
});

describe('A path', () => {
  it.each([
    '/v1',
    '/v1/',
    '/v1/nothing',
    '/v1/queues/',
    '/v1/queues/a/b',
    '/nothing',
    '/%ff',
    '/%',
  ])('%s is nowhere', async (nowhere) => {
    expectProblem(await call('GET', nowhere), 'not-found');
  });

  it.each([
    ['POST', '/v1/queues', 'GET, HEAD'],
    ['POST', '/v1/queues/a', 'DELETE, GET, HEAD, PATCH, PUT'],
    ['GET', '/v1/queues/a/pause', 'POST'],
    ['DELETE', '/healthz', 'GET, HEAD'],
    ['OPTIONS', '/v1/queues', 'GET, HEAD'],
  ])('refuses %s %s and says what it takes', async (method, at, allow) => {
    const answer = await call(method, at);
    expectProblem(answer, 'method-not-allowed');
    expect(answer.headers.get('allow')).toBe(allow);
  });
});

function rate(maxDispatchesPerSecond: unknown) {
  return { rateLimits: { maxDispatchesPerSecond } };
}

function burst(received: string): [string, string, string] {
  return ['/rateLimits/maxBurstSize', 'an integer from 1 to 1000000', received];
}

function backoff(minBackoffSeconds: unknown) {
  return { retry: { minBackoffSeconds } };
}

function deadline(dispatchDeadlineSeconds: unknown) {
  return { dispatchDeadlineSeconds };
}
