import fc from 'fast-check';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { PROBLEM, type ProblemCode } from '../../src/protocol/problem.ts';
import { type ApiFixture, createApiFixture } from './api-fixture.ts';

let fixture: ApiFixture;

beforeAll(async () => {
  fixture = await createApiFixture();
});
afterAll(() => fixture.close());

const text = fc.oneof(
  fc.string({ unit: 'binary', maxLength: 20 }),
  fc.constantFrom('', '\0', '\ud800'),
);
const anything = fc.oneof(
  text,
  fc.double(),
  fc.integer(),
  fc.constantFrom(null, true, -1, 0, 1, 1e308, 2 ** 53, [], {}),
  fc.jsonValue({ maxDepth: 3 }),
);
const fields = (names: string[]) =>
  fc.dictionary(fc.oneof(fc.constantFrom(...names), text), anything, { maxKeys: 4 });
const body = fc.oneof(
  fc.constantFrom({}, { audience: 'a' }, { retry: { maxAttempts: 3 } }),
  anything,
  fc.record(
    {
      rateLimits: fields(['maxDispatchesPerSecond', 'maxBurstSize', 'maxConcurrentDispatches']),
      retry: fields(['maxAttempts', 'minBackoffSeconds', 'maxBackoffSeconds', 'maxDoublings']),
      target: fc.record(
        { baseUrl: fc.oneof(fc.webUrl(), text), headers: fc.dictionary(text, text) },
        { requiredKeys: [] },
      ),
      dispatchDeadlineSeconds: anything,
      successStatus: anything,
      flow: fields([
        'maxDispatchesPerSecond',
        'maxBurstSize',
        'maxConcurrentDispatches',
        'ordered',
      ]),
      weight: anything,
      pool: fc.oneof(fc.constantFrom('default', 'other'), anything),
      maxBacklog: anything,
      activeWindows: fc.oneof(fc.array(fields(['days', 'start', 'end', 'timeZone'])), anything),
      businessDaysOnly: anything,
      circuitBreaker: fields(['minCalls', 'failureShare', 'openSeconds']),
      audience: anything,
      retentionSeconds: anything,
    },
    { requiredKeys: [] },
  ),
);
const name = fc.oneof(
  { weight: 3, arbitrary: fc.constantFrom('a', 'b') },
  fc.stringMatching(/^[A-Za-z0-9_-]{1,100}$/),
  text.map((raw) => encodeURIComponent(raw.toWellFormed())),
  fc.constantFrom('%', '%ff', '%00', '..', '.', '~', 'a%2Fb'),
);
const query = fc.oneof(
  { weight: 3, arbitrary: fc.constant('') },
  fc.webQueryParameters().map((parameters) => `?${parameters}`),
  fc.constantFrom('?limit=1', '?cursor=WyJhIl0', '?cursor=WyJcdTAwMDAiXQ', '?force=true'),
);
const request = fc.record({
  method: fc.constantFrom('GET', 'PUT', 'PATCH', 'DELETE', 'POST', 'HEAD'),
  path: fc.oneof(
    name.map((queue) => `/v1/queues/${queue}`),
    fc
      .tuple(name, fc.constantFrom('pause', 'resume', 'purge'))
      .map(([queue, action]) => `/v1/queues/${queue}/${action}`),
    fc.constant('/v1/queues'),
  ),
  query,
  body,
});

describe('The queue routes', () => {
  it('answer any input with success or with a problem of the caller', async () => {
    const seen = new Set<number>();
    await fc.assert(
      fc.asyncProperty(request, async ({ method, path, query, body }) => {
        const takesBody = method !== 'GET' && method !== 'HEAD';
        const answer = await fixture.call(method, path + query, {
          body: takesBody ? JSON.stringify(body) : undefined,
        });
        seen.add(answer.status);
        expect(answer.status).toBeLessThan(500);
        if (answer.status < 400 || method === 'HEAD') return;
        expect(answer.headers.get('content-type')).toBe('application/problem+json');
        expect(PROBLEM[answer.body.code as ProblemCode].status).toBe(answer.status);
      }),
      { numRuns: 1500 },
    );
    expect([...seen]).toEqual(expect.arrayContaining([200, 201, 204, 400, 404, 405]));
    expect(fixture.logged).toEqual([]);
  });
});
