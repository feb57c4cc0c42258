import { afterAll, beforeAll, describe, expect, expectTypeOf, test } from 'vitest';
import { z } from 'zod';
import type { StandardSchema, TaskRequest, WorkerOptions } from '../../src/handler/index.ts';
import {
  FatalTaskError,
  RetryLaterError,
  task,
  VerificationError,
} from '../../src/handler/index.ts';
import type { AttemptToSign, Signer } from '../support/sign.ts';
import { createSigner, WORKER_URL } from '../support/sign.ts';

let signer: Signer;
let options: WorkerOptions;
beforeAll(async () => {
  signer = await createSigner();
  options = { issuer: signer.issuer, publicUrl: WORKER_URL };
});
afterAll(() => signer.close());

/** What the service sees of an answer. */
async function read(response: Response) {
  const { status, headers } = response;
  return {
    status,
    type: headers.get('content-type'),
    outcome: headers.get('errand-outcome'),
    text: await response.text(),
  };
}

async function run(fn: Parameters<typeof task>[0], attempt: AttemptToSign = {}) {
  return task(fn as () => unknown, options)(await signer.request(attempt));
}

describe('task() completes the task with what the function returns:', () => {
  const text = 'text/plain;charset=utf-8';
  test.each([
    ['nothing', undefined, null, ''],
    ['a string', 'sent ✓', text, 'sent ✓'],
    ['an empty string', '', text, ''],
    ['an object', { sent: 1 }, 'application/json', '{"sent":1}'],
    ['null', null, 'application/json', 'null'],
    ['a number', 0, 'application/json', '0'],
  ])('%s', async (_what, value, type, body) => {
    const answer = await read(await run(() => value));
    expect({ ...answer, type: answer.type?.replace('; ', ';') ?? null }).toEqual({
      status: 200,
      outcome: null,
      type,
      text: body,
    });
  });

  test('a Response with its type and file name', async () => {
    const headers = {
      'content-type': 'text/csv',
      'content-disposition': 'attachment; filename="report.csv"',
    };
    const response = await run((_input, context) => {
      context.progress(100);
      return new Response('a,b\n', { headers });
    });
    expect(Object.fromEntries(response.headers)).toEqual({ ...headers, 'errand-progress': '100' });
    expect(await response.text()).toBe('a,b\n');
  });
});

test.each([
  ['a Response that is no 200', () => new Response('no', { status: 404 }), 'status 200 only'],
  ['a function', () => () => 1, 'got a function'],
  ['a BigInt', () => 1n, 'BigInt'],
])('task() answers 500 when the function returns %s', async (_what, fn, message) => {
  const answer = await read(await run(fn));
  expect(answer.status).toBe(500);
  expect(answer.text).toContain(message);
});

describe('task() answers what the function throws:', () => {
  const fatal = () => {
    throw new FatalTaskError('There is no customer 7');
  };

  test('FatalTaskError with 200 and Errand-Outcome failed, and its message', async () => {
    const answer = await read(await run(fatal));
    expect(answer).toMatchObject({
      status: 200,
      outcome: 'failed',
      text: 'There is no customer 7',
    });
  });

  test('RetryLaterError with 503 and whole seconds of Retry-After', async () => {
    const response = await run(() => Promise.reject(new RetryLaterError(1.2, 'Slow down')));
    expect(response.headers.get('retry-after')).toBe('2');
    expect(await read(response)).toMatchObject({ status: 503, outcome: null, text: 'Slow down' });
  });

  test('anything else with 500, its message and never its stack', async () => {
    const answer = await read(await run(() => Promise.reject(new Error('disk full'))));
    expect(answer).toMatchObject({ status: 500, outcome: null, text: 'disk full' });
    expect((await read(await run(() => Promise.reject('a string')))).text).toBe('a string');
  });

  test('a message of any length with a bounded text', async () => {
    const answer = await read(await run(() => Promise.reject(new Error('x'.repeat(9_999)))));
    expect(answer.text).toHaveLength(2_000);
  });

  test('no message when exposeErrors is false, but for a fatal reason', async () => {
    const hidden = { ...options, exposeErrors: false };
    const crash = task(() => Promise.reject(new Error('password=x')), hidden);
    expect((await read(await crash(await signer.request()))).text).toBe('The task threw an error');
    const fail = task(fatal, hidden);
    expect((await read(await fail(await signer.request()))).text).toBe('There is no customer 7');
  });
});

test('task() answers a request that fails verification with 401 and a problem', async () => {
  let isCalled = false;
  const handler = task(() => (isCalled = true), options);
  const response = await handler(
    await signer.request({ claims: { aud: 'https://other.example' } }),
  );
  expect(response.status).toBe(401);
  expect(response.headers.get('www-authenticate')).toBe('Bearer');
  expect(response.headers.get('content-type')).toBe('application/problem+json');
  expect(await response.json()).toMatchObject({ status: 401, code: 'claim-invalid' });
  expect(isCalled).toBe(false);
});

describe('task() tells onError', () => {
  test('what was thrown, and of which task', async () => {
    const seen: [unknown, TaskRequest | null][] = [];
    const onError = (error: unknown, of: TaskRequest | null) => seen.push([error, of]);
    const thrown = new Error('disk full');
    const handler = task(() => Promise.reject(thrown), { ...options, onError });
    await handler(await signer.request());
    await handler(await signer.request({ method: 'PUT', claims: { htm: 'POST' } }));
    expect(seen[0]).toMatchObject([thrown, { queue: 'mail' }]);
    expect(seen[1]).toMatchObject([{ code: 'method-mismatch' }, null]);
    expect(seen[1]![0]).toBeInstanceOf(VerificationError);
  });

  test('and answers the same when it throws or rejects', async () => {
    const logs = [
      () => Promise.reject(new Error('log')),
      () => {
        throw new Error('log');
      },
    ];
    for (const onError of logs) {
      const handler = task(() => Promise.reject(new Error('disk full')), { ...options, onError });
      expect((await read(await handler(await signer.request()))).text).toBe('disk full');
    }
  });
});

describe('task() progress', () => {
  test.each([
    [-5, '0'],
    [33.9, '33'],
    [250, '100'],
  ])('of %d is told as %s', async (percent, told) => {
    const response = await run((_input, context) => context.progress(percent));
    expect(response.headers.get('errand-progress')).toBe(told);
  });

  test('that was never told is not answered', async () => {
    expect((await run(() => 'done')).headers.has('errand-progress')).toBe(false);
  });

  test('that is no number is an error', async () => {
    const answer = await read(await run((_input, context) => context.progress(Number.NaN)));
    expect(answer.status).toBe(500);
    expect(answer.text).toContain('number from 0 to 100');
  });
});

test('task() gives the payload as text, the task’s facts and the request’s signal', async () => {
  const aborter = new AbortController();
  const request = new Request(await signer.request({ body: 'plain' }), { signal: aborter.signal });
  const handler = task((payload, context) => {
    expectTypeOf(payload).toEqualTypeOf<string>();
    aborter.abort();
    return [payload, context.taskId, context.attempt, context.signal.aborted];
  }, options);
  const answer = await read(await handler(request));
  expect(JSON.parse(answer.text)).toEqual(['plain', '0198c0de000070008000000000000001', 1, true]);
});

describe('task() with an input schema', () => {
  const input = z.object({ to: z.email(), at: z.coerce.date(), tags: z.array(z.string()) });

  async function validated(body: string | Uint8Array<ArrayBuffer>) {
    const handler = task((value) => value.at.getTime(), { ...options, input });
    return read(await handler(await signer.request({ body })));
  }

  test('gives the function what the schema made of the payload', async () => {
    const body = '{"to":"a@b.de","at":"1970-01-01T00:00:01Z","tags":[]}';
    expect((await validated(body)).text).toBe('1000');
  });

  test('infers the input from the schema', () => {
    task((value) => expectTypeOf(value).toEqualTypeOf<z.infer<typeof input>>(), {
      ...options,
      input,
    });
  });

  test('fails the task with the fields that are wrong', async () => {
    const answer = await validated('{"to":"nobody","at":"1970-01-01","tags":["a",2]}');
    expect(answer).toMatchObject({ status: 200, outcome: 'failed' });
    expect(answer.text).toMatch(/^The payload is not valid: \/to: .+; \/tags\/1: .+$/);
  });

  test.each([
    ['no JSON', '{"to":', /^The payload must be JSON: /],
    ['empty', '', /^The payload must be JSON: /],
    ['not UTF-8', new Uint8Array([34, 255, 34]), /not UTF-8/],
  ])('fails the task when the payload is %s', async (_what, body, message) => {
    const answer = await validated(body);
    expect(answer).toMatchObject({ status: 200, outcome: 'failed' });
    expect(answer.text).toMatch(message);
  });

  test('takes any Standard Schema, escapes pointers and names at most five fields', async () => {
    const issues = [
      { message: 'is odd', path: [{ key: 'a/b' }, { key: '~' }] },
      ...Array.from({ length: 6 }, (_, i) => ({ message: 'is bad', path: [i] })),
    ];
    const schema: StandardSchema<never> = {
      '~standard': { version: 1, vendor: 'test', validate: async () => ({ issues }) },
    };
    const handler = task(() => undefined, { ...options, input: schema });
    const answer = await read(await handler(await signer.request({ body: '1' })));
    expect(answer.text).toBe(
      'The payload is not valid: /a~1b/~0: is odd; /0: is bad; /1: is bad; /2: is bad; /3: is bad; and 2 more',
    );
  });
});

test.each([-1, Number.NaN, Number.POSITIVE_INFINITY])(
  'RetryLaterError refuses %d seconds',
  (seconds) => {
    expect(() => new RetryLaterError(seconds)).toThrow(RangeError);
  },
);
