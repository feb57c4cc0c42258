import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { DEFAULT_QUEUE_SETTINGS } from '../../src/model.ts';
import { type ApiFixture, createApiFixture, expectProblem } from './api-fixture.ts';

const path = '/v1/queues/limits';
const NIGHT = { days: ['mon', 'fri'], start: '22:00', end: '06:00', timeZone: 'Europe/Berlin' };
const COUNT = 'an integer from 1 to 1000000';
const WEIGHT = 'a number above 0, at most 1000';
const RATE = 'a number above 0, at most 1000000';
const SOME_LIMIT = 'a maxDispatchesPerSecond, a maxConcurrentDispatches or ordered: true; or null';
const POOL = '1 to 63 of a-z 0-9 -, not starting with -';
const CALENDAR = 'the name of a calendar of this project';

let fixture: ApiFixture;
let call: ApiFixture['call'];

beforeAll(async () => {
  fixture = await createApiFixture();
  ({ call } = fixture);
  const sixDays = ['mon', 'tue', 'wed', 'thu', 'fri', 'sat'];
  await call('PUT', '/v1/calendars/weekdays', { body: { timeZone: 'UTC' } });
  await call('PUT', '/v1/calendars/sundays', { body: { timeZone: 'UTC', weekend: sixDays } });
});
afterAll(() => fixture.close());

const put = (body: unknown) => call('PUT', path, { body });
const patch = (body: unknown) => call('PATCH', path, { body });
const flow = (value: unknown) => ({ flow: value });
const breaker = (value: unknown) => ({ circuitBreaker: value });
const window = (fields: object) => ({ activeWindows: [{ ...NIGHT, ...fields }] });

describe('PUT of a queue', () => {
  it('gives back every setting of flow control, with defaults for what is left out', async () => {
    const body = {
      flow: { maxDispatchesPerSecond: 0.2 },
      weight: 2.5,
      pool: 'reports',
      maxBacklog: 10,
      activeWindows: [NIGHT, { ...NIGHT, start: '00:00', end: '24:00' }],
      businessDaysOnly: 'weekdays',
      circuitBreaker: { minCalls: 5 },
    };
    const answer = await put(body);
    expect(answer.body).toMatchObject({
      ...body,
      flow: {
        maxDispatchesPerSecond: 0.2,
        maxBurstSize: 1,
        maxConcurrentDispatches: null,
        ordered: false,
      },
      circuitBreaker: { minCalls: 5, failureShare: 0.7, openSeconds: 30 },
    });
    expect((await call('GET', path)).body).toMatchObject(answer.body);
    const replaced = await put({});
    expect(replaced.body).toMatchObject({ ...DEFAULT_QUEUE_SETTINGS });
  });

  it('carries a status: not served, and nothing to say of it yet', async () => {
    await put({ pool: 'nobodys' });
    expect((await call('GET', path)).body.status).toEqual({
      isServed: false,
      closedUntil: null,
      openCircuits: [],
      rateShare: 1,
    });
    await fixture.sql`
      insert into errand.dispatcher (pool, host, pid) values ('nobodys', 'box', 1)`;
    expect((await call('GET', path)).body.status.isServed).toBe(true);
  });
});

describe('GET of a queue', () => {
  it('tells when a closed queue opens, and nothing of an open one', async () => {
    const day = 24 * 3_600_000;
    const tomorrow = new Date(Date.now() + day).toISOString().slice(0, 10);
    const weekday = ['sun', 'mon', 'tue', 'wed', 'thu', 'fri', 'sat'][
      new Date(tomorrow).getUTCDay()
    ];
    const window = { days: [weekday], start: '12:00', end: '13:00', timeZone: 'UTC' };
    await put({ activeWindows: [window] });
    const { status } = (await call('GET', path)).body;
    expect(status.closedUntil).toBe(`${tomorrow}T12:00:00.000Z`);
    await put({ activeWindows: [] });
    expect((await call('GET', path)).body.status.closedUntil).toBeNull();
  });
});

describe('PATCH of a queue', () => {
  it('merges flow and circuitBreaker over what is there, or over the defaults after null', async () => {
    await put({ flow: { ordered: true }, circuitBreaker: null });
    const first = await patch({ flow: { maxDispatchesPerSecond: 2 } });
    expect(first.body.flow).toMatchObject({ ordered: true, maxDispatchesPerSecond: 2 });
    expect(first.body.circuitBreaker).toBeNull();
    const second = await patch({ flow: null, circuitBreaker: { openSeconds: 5 } });
    expect(second.body.flow).toBeNull();
    expect(second.body.circuitBreaker).toEqual({ minCalls: 50, failureShare: 0.7, openSeconds: 5 });
    const third = await patch({ flow: { maxConcurrentDispatches: 3 } });
    expect(third.body.flow).toMatchObject({ ordered: false, maxConcurrentDispatches: 3 });
    expect(third.body.circuitBreaker.openSeconds).toBe(5);
  });

  it('replaces the windows as a whole, and leaves them when it says nothing', async () => {
    await put({ activeWindows: [NIGHT] });
    const noon = { ...NIGHT, start: '11:00', end: '13:00' };
    expect((await patch({ activeWindows: [noon] })).body.activeWindows).toEqual([noon]);
    expect((await patch({ weight: 2 })).body.activeWindows).toEqual([noon]);
    expect((await patch({ activeWindows: [] })).body.activeWindows).toEqual([]);
  });

  it('judges a patch by what it is put over', async () => {
    await put({ flow: { maxConcurrentDispatches: 2 } });
    const problem = expectProblem(await patch({ flow: { ordered: true } }), 'invalid-request');
    expect(problem.errors).toMatchObject([{ pointer: '/flow/maxConcurrentDispatches' }]);
    await put({ activeWindows: [{ ...NIGHT, days: ['sun'] }] });
    const closed = expectProblem(await patch({ businessDaysOnly: 'weekdays' }), 'invalid-request');
    expect(closed.errors).toEqual([
      {
        pointer: '/businessDaysOnly',
        expected: 'an opening within 400 days of /activeWindows',
        received: '"weekdays"',
      },
    ]);
    expect((await patch({ businessDaysOnly: 'sundays' })).status).toBe(200);
  });

  it('lowers a limit below another that it does not name', async () => {
    await put({ flow: { maxDispatchesPerSecond: 100 } });
    expect((await patch({ rateLimits: { maxDispatchesPerSecond: 1 } })).status).toBe(200);
  });
});

describe.each(['PUT', 'PATCH'])('%s of a queue names what is wrong with', (method) => {
  beforeAll(() => put({}));

  it.each<[string, unknown, [pointer: string, expected: string, received: string]]>([
    ['no weight', { weight: 0 }, ['/weight', WEIGHT, '0']],
    ['a negative weight', { weight: -1 }, ['/weight', WEIGHT, '-1']],
    ['a heavy weight', { weight: 1001 }, ['/weight', WEIGHT, '1001']],
    ['a weight as text', { weight: '2' }, ['/weight', WEIGHT, '"2"']],
    ['an empty pool', { pool: '' }, ['/pool', POOL, '""']],
    ['a pool in capitals', { pool: 'Reports' }, ['/pool', POOL, '"Reports"']],
    ['NUL in a pool', { pool: 'a\0' }, ['/pool', POOL, '"a\\u0000"']],
    ['null as pool', { pool: null }, ['/pool', 'a pool name', 'null']],
    ['no backlog', { maxBacklog: 0 }, ['/maxBacklog', COUNT, '0']],
    ['half a backlog', { maxBacklog: 1.5 }, ['/maxBacklog', COUNT, '1.5']],
    ['a flow without limit', flow({}), ['/flow', SOME_LIMIT, 'no limit']],
    ['a flow with a burst alone', flow({ maxBurstSize: 2 }), ['/flow', SOME_LIMIT, 'no limit']],
    [
      'an unknown field of a flow',
      flow({ ordered: true, keys: 1 }),
      ['/flow/keys', 'no field of this name', '1'],
    ],
    [
      'a flow’s rate of none',
      flow({ maxDispatchesPerSecond: 0 }),
      ['/flow/maxDispatchesPerSecond', RATE, '0'],
    ],
    [
      'a flow’s burst below 1',
      flow({ ordered: true, maxBurstSize: 0 }),
      ['/flow/maxBurstSize', COUNT, '0'],
    ],
    [
      'an ordered flow of two at once',
      flow({ ordered: true, maxConcurrentDispatches: 2 }),
      ['/flow/maxConcurrentDispatches', '1 or null, for `ordered` is one', '2'],
    ],
    [
      'a flow faster than its queue',
      { ...flow({ maxDispatchesPerSecond: 6 }), rateLimits: { maxDispatchesPerSecond: 5 } },
      [
        '/flow/maxDispatchesPerSecond',
        'at most the queue’s own, /rateLimits/maxDispatchesPerSecond: 5',
        '6',
      ],
    ],
    [
      'a flow with more at once than its queue',
      { ...flow({ maxConcurrentDispatches: 6 }), rateLimits: { maxConcurrentDispatches: 5 } },
      [
        '/flow/maxConcurrentDispatches',
        'at most the queue’s own, /rateLimits/maxConcurrentDispatches: 5',
        '6',
      ],
    ],
    [
      'a share of failures above 1',
      breaker({ failureShare: 1.1 }),
      ['/circuitBreaker/failureShare', 'a number above 0 up to 1', '1.1'],
    ],
    [
      'a share of failures of none',
      breaker({ failureShare: 0 }),
      ['/circuitBreaker/failureShare', 'a number above 0 up to 1', '0'],
    ],
    [
      'a breaker that never holds',
      breaker({ openSeconds: 0 }),
      ['/circuitBreaker/openSeconds', 'a number from 1 to 86400', '0'],
    ],
    ['true as breaker', breaker(true), ['/circuitBreaker', 'an object', 'true']],
    ['no day', window({ days: [] }), ['/activeWindows/0/days', 'at least 1 day', 'an array of 0']],
    [
      'a day twice',
      window({ days: ['mon', 'mon'] }),
      ['/activeWindows/0/days/1', 'each day once', '"mon"'],
    ],
    [
      'a day that is none',
      window({ days: ['monday'] }),
      ['/activeWindows/0/days/0', 'mon or tue or wed or thu or fri or sat or sun', '"monday"'],
    ],
    [
      'a start that is no time',
      window({ start: '24:00' }),
      ['/activeWindows/0/start', 'HH:MM from 00:00 to 23:59', '"24:00"'],
    ],
    [
      'an end that is no time',
      window({ end: '6:00' }),
      ['/activeWindows/0/end', 'HH:MM from 00:00 to 24:00', '"6:00"'],
    ],
    [
      'a start that is the end',
      window({ end: '22:00' }),
      ['/activeWindows/0/end', 'another time than start; a whole day is 00:00 to 24:00', '"22:00"'],
    ],
    [
      'an unknown time zone',
      window({ timeZone: 'Europe/Nowhere' }),
      ['/activeWindows/0/timeZone', 'an IANA time zone, as Europe/Berlin', '"Europe/Nowhere"'],
    ],
    [
      'an unknown calendar',
      { businessDaysOnly: 'nowhere' },
      ['/businessDaysOnly', CALENDAR, '"nowhere"'],
    ],
    [
      'a name that no calendar has',
      { businessDaysOnly: 'a b' },
      ['/businessDaysOnly', '1 to 100 of A-Z a-z 0-9 _ -', '"a b"'],
    ],
    [
      'windows that never open on business days',
      { ...window({ days: ['sat'] }), businessDaysOnly: 'weekdays' },
      ['/activeWindows', 'an opening within 400 days, on business days too', 'an array of 1'],
    ],
  ])('%s', async (_, body, [pointer, expected, received]) => {
    const problem = expectProblem(await call(method, path, { body }), 'invalid-request');
    expect(problem.errors).toEqual([{ pointer, expected, received }]);
  });
});
