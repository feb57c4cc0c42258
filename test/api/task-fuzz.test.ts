import fc from 'fast-check';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { PROBLEM, type ProblemCode } from '../../src/protocol/problem.ts';
import { verifyRooms } from '../../src/store/verify.ts';
import { type ApiFixture, createApiFixture } from './api-fixture.ts';

const RUNS = 500;
let fixture: ApiFixture;

beforeAll(async () => {
  fixture = await createApiFixture();
});
afterAll(() => fixture.close());

const text = fc.oneof(
  fc.string({ unit: 'binary', maxLength: 20 }),
  fc.constantFrom('', '\0', '\ud800', 'a', '__proto__', 'NULL', '{}'),
);
const anything = fc.oneof(
  text,
  fc.double(),
  fc.integer(),
  fc.constantFrom(null, true, -1, -0, 0, 1, 1e308, 5e-324, 2 ** 53, [], {}),
  fc.jsonValue({ maxDepth: 2 }),
);
const time = fc.oneof(
  fc.date({ noInvalidDate: true }).map((date) => date.toISOString()),
  fc.constantFrom('2030-01-01T00:00:00+14:00', '2030-06-30T23:59:60Z', '+012026-01-01T00:00:00Z'),
  text,
);
const or = <Value>(value: fc.Arbitrary<Value>) =>
  fc.oneof(
    { weight: 19, arbitrary: value as fc.Arbitrary<unknown> },
    { weight: 1, arbitrary: anything },
  );
const seconds = fc.double({ min: 1, max: 80_000, noNaN: true });

/** Most are nearly right, so that many reach the database. */
const task = fc.record(
  {
    url: or(fc.webUrl({ withFragments: true, withQueryParameters: true })),
    payload: or(fc.string({ unit: 'binary' })),
    payloadBase64: or(fc.base64String()),
    contentType: or(fc.constantFrom('text/plain', 'a/b;c=d')),
    method: or(fc.constantFrom('POST', 'GET', 'DELETE')),
    headers: or(
      fc.dictionary(fc.stringMatching(/^X-[A-Za-z-]{1,10}$/), fc.stringMatching(/^[!-~é]{0,9}$/)),
    ),
    name: or(fc.stringMatching(/^[ab_-]{1,3}$/)),
    scheduleTime: or(fc.constantFrom('2030-01-01T00:00:00+14:00', '2001-06-30T23:59:59.5z')),
    delaySeconds: or(seconds),
    expireTime: or(time),
    priority: or(fc.integer({ min: -1000, max: 1000 })),
    flowKey: or(text),
    retry: or(
      fc.record(
        {
          maxAttempts: fc.integer({ min: 1, max: 99 }),
          minBackoffSeconds: fc.double({ min: 0, max: 3600, noNaN: true }),
          maxDoublings: fc.nat(1010),
        },
        { requiredKeys: [] },
      ),
    ),
    dispatchDeadlineSeconds: or(seconds),
    retentionSeconds: or(seconds),
    owner: or(fc.string({ unit: 'binary', minLength: 1 })),
    labels: or(fc.dictionary(fc.stringMatching(/^[ -~é😀]{1,9}$/u), fc.string({ maxLength: 9 }))),
    nonsense: anything,
  },
  { requiredKeys: ['url'] },
);
const few = fc.subarray([
  'url',
  'payload',
  'headers',
  'name',
  'delaySeconds',
  'priority',
  'retry',
  'dispatchDeadlineSeconds',
  'retentionSeconds',
  'owner',
  'labels',
  'scheduleTime',
]);
const body = fc.oneof(
  {
    weight: 6,
    arbitrary: fc
      .tuple(task, few)
      .map(([full, keys]) =>
        Object.fromEntries(
          ['url', ...keys].map((key) => [key, (full as Record<string, unknown>)[key]]),
        ),
      ),
  },
  { weight: 2, arbitrary: task },
  { weight: 1, arbitrary: anything },
);
const key = fc.constantFrom(undefined, undefined, 'a', 'b', 'c', 'd', 'e', 'f');

describe('The task routes', () => {
  it('answer any body with a task that reads back the same, or with a problem of the caller', async () => {
    const seen = new Set<number>();
    const send = (input: unknown, idempotencyKey: string | undefined, isBatch: boolean) =>
      fixture.call('POST', `/v1/queues/default/tasks${isBatch ? '/batch' : ''}`, {
        body: JSON.stringify(isBatch ? { tasks: [input, input] } : input) ?? 'undefined',
        headers: idempotencyKey === undefined ? {} : { 'idempotency-key': idempotencyKey },
      });
    const check = async (
      input: unknown,
      idempotencyKey: string | undefined,
      isBatch: boolean,
      isRepeated = false,
    ): Promise<void> => {
      const answer = await send(input, idempotencyKey, isBatch);
      const results = isBatch
        ? answer.body.items
        : [{ status: answer.status, task: answer.body, problem: answer.body }];
      for (const { status, task: created, problem } of results) {
        seen.add(status);
        if (isRepeated) expect(status).not.toBe(201);
        if (status === 201) {
          const { body: read } = await fixture.call('GET', `/v1/tasks/${created.id}`);
          expect(read).toEqual(created);
        } else if (status !== 200) {
          expect(PROBLEM[problem.code as ProblemCode].status).toBe(status);
          expect(status).toBeLessThan(500);
        }
      }
      if (idempotencyKey === undefined || isRepeated) return;
      await check(input, idempotencyKey, isBatch, true);
    };
    await fc.assert(
      fc.asyncProperty(body, key, fc.boolean(), (...input) => check(...input)),
      { numRuns: RUNS },
    );
    expect(fixture.logged).toEqual([]);
    expect([...seen]).toEqual(expect.arrayContaining([200, 201, 400, 409, 422]));
    expect((await verifyRooms(fixture.sql)).problems).toEqual([]);
  }, 60_000);

  it('answer any path and query with success or with a problem of the caller', async () => {
    const id = fc.oneof(
      fc.stringMatching(/^[0-9a-f]{32}$/),
      text.map((raw) => encodeURIComponent(raw.toWellFormed())),
      fc.constantFrom('%', '%ff', '%00', '..', '0'.repeat(32), 'f'.repeat(32)),
    );
    const rest = fc.constantFrom(
      '',
      '/cancel',
      '/run',
      '/retry',
      '/attempts',
      '/output',
      '/progress',
    );
    const query = fc.oneof(
      fc.constant(''),
      fc.webQueryParameters().map((parameters) => `?${parameters}`),
      fc.constantFrom('?view=full', '?limit=1', '?cursor=WyJhIl0', '?state=ready', '?owner=%ff'),
    );
    const path = fc.oneof(
      fc.tuple(id, rest).map(([taskId, action]) => `/v1/tasks/${taskId}${action}`),
      fc.constant('/v1/tasks'),
    );
    const method = fc.constantFrom('GET', 'PUT', 'DELETE', 'POST', 'HEAD', 'PATCH');
    await fc.assert(
      fc.asyncProperty(method, path, query, anything, async (verb, where, search, input) => {
        const hasBody = verb !== 'GET' && verb !== 'HEAD';
        const answer = await fixture.call(verb, where + search, hasBody ? { body: input } : {});
        expect(answer.status).toBeLessThan(500);
      }),
      { numRuns: RUNS },
    );
    expect(fixture.logged).toEqual([]);
  }, 60_000);
});
