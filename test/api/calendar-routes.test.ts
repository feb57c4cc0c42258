import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { type ApiFixture, createApiFixture, expectProblem } from './api-fixture.ts';

let fixture: ApiFixture;
let call: ApiFixture['call'];

beforeAll(async () => {
  fixture = await createApiFixture();
  ({ call } = fixture);
});
afterAll(() => fixture.close());

const UTC = { timeZone: 'UTC' };

describe('PUT /v1/calendars/{calendar}', () => {
  it('creates a calendar with the defaults, and replaces it', async () => {
    const created = await call('PUT', '/v1/calendars/made', { body: UTC });
    expect(created.status).toBe(201);
    expect(created.body).toEqual({
      name: 'made',
      timeZone: 'UTC',
      holidays: [],
      weekend: ['sat', 'sun'],
      updatedAt: expect.stringMatching(/^\d{4}-.*Z$/),
    });
    const body = { timeZone: 'Asia/Dubai', holidays: ['2028-02-29'], weekend: ['fri'] };
    const replaced = await call('PUT', '/v1/calendars/made', { body });
    expect([replaced.status, replaced.body]).toMatchObject([200, body]);
    expect((await call('GET', '/v1/calendars/made')).body).toEqual(replaced.body);
  });

  it.each<[string, object, string]>([
    ['no time zone', {}, '/timeZone'],
    ['an unknown time zone', { timeZone: 'Mars/Base' }, '/timeZone'],
    ['a date that is none', { ...UTC, holidays: ['2026-12-25', '2026-02-30'] }, '/holidays/1'],
    ['NUL', { ...UTC, holidays: ['\0'] }, '/holidays/0'],
    ['a day twice', { ...UTC, weekend: ['sat', 'sat'] }, '/weekend/1'],
    ['an unknown day', { ...UTC, weekend: ['Saturday'] }, '/weekend/0'],
    [
      'no business day',
      { ...UTC, weekend: ['mon', 'tue', 'wed', 'thu', 'fri', 'sat', 'sun'] },
      '/weekend',
    ],
    ['an unknown field', { ...UTC, name: 'x' }, '/name'],
  ])('refuses %s', async (_, body, pointer) => {
    const answer = await call('PUT', '/v1/calendars/refused', { body });
    expect(expectProblem(answer, 'invalid-request').errors).toMatchObject([{ pointer }]);
  });

  it('refuses one on whose business days a queue that names it would never open', async () => {
    const saturdays = { days: ['sat'], start: '10:00', end: '12:00', timeZone: 'UTC' };
    const everyDay = { ...UTC, weekend: [] };
    await call('PUT', '/v1/calendars/shops', { body: everyDay });
    for (const [name, activeWindows] of [
      ['shop-b', [saturdays]],
      ['shop-a', [saturdays]],
      ['always', []],
    ] as const) {
      const body = { businessDaysOnly: 'shops', activeWindows };
      expect((await call('PUT', `/v1/queues/${name}`, { body })).status).toBe(201);
    }
    const refused = await call('PUT', '/v1/calendars/shops', { body: UTC });
    const expected = 'business days on which queue "shop-a", which names the calendar, ever opens';
    expect(expectProblem(refused, 'invalid-request').errors).toMatchObject([
      { pointer: '/weekend', expected },
    ]);
    const nextYears = Array.from({ length: 420 }, (_, day) =>
      new Date(Date.now() + (day - 2) * 86_400_000).toISOString().slice(0, 10),
    );
    const holidays = nextYears.filter((date) => new Date(date).getUTCDay() === 6);
    const closed = await call('PUT', '/v1/calendars/shops', { body: { ...everyDay, holidays } });
    expect(expectProblem(closed, 'invalid-request').errors).toMatchObject([
      { pointer: '/holidays', expected },
    ]);
    expect((await call('GET', '/v1/calendars/shops')).body).toMatchObject({ holidays: [] });
    const good = await call('PUT', '/v1/calendars/shops', { body: { ...UTC, weekend: ['sun'] } });
    expect(good.status).toBe(200);
  });

  it('refuses a name that cannot be one', async () => {
    const answer = await call('PUT', '/v1/calendars/a%20b', { body: UTC });
    expect(expectProblem(answer, 'invalid-request').errors).toMatchObject([
      { pointer: 'path calendar' },
    ]);
  });
});

describe('GET /v1/calendars', () => {
  it("lists a project's own by name, page by page", async () => {
    const { key } = await fixture.createTenant();
    const headers = { authorization: `Bearer ${key}` };
    for (const name of ['c', 'a', 'b']) {
      await call('PUT', `/v1/calendars/${name}`, { body: UTC, headers });
    }
    const names = ({ body }: { body: { items: { name: string }[] } }) =>
      body.items.map((item) => item.name);
    const first = await call('GET', '/v1/calendars?limit=2', { headers });
    expect(names(first)).toEqual(['a', 'b']);
    const query = `limit=2&cursor=${first.body.nextCursor}`;
    const second = await call('GET', `/v1/calendars?${query}`, { headers });
    expect([names(second), second.body.nextCursor]).toEqual([['c'], null]);
  });

  it("answers 404 for another project's calendar, and lets no queue name it", async () => {
    await call('PUT', '/v1/calendars/private', { body: UTC });
    const { key } = await fixture.createTenant();
    const headers = { authorization: `Bearer ${key}` };
    expectProblem(await call('GET', '/v1/calendars/private', { headers }), 'not-found');
    expectProblem(await call('DELETE', '/v1/calendars/private', { headers }), 'not-found');
    const body = { businessDaysOnly: 'private' };
    const answer = await call('PUT', '/v1/queues/q', { body, headers });
    expect(expectProblem(answer, 'invalid-request').errors).toMatchObject([
      { pointer: '/businessDaysOnly' },
    ]);
  });
});

describe('DELETE /v1/calendars/{calendar}', () => {
  it('refuses while a queue names it', async () => {
    await call('PUT', '/v1/calendars/used', { body: UTC });
    await call('PUT', '/v1/queues/user', { body: { businessDaysOnly: 'used' } });
    expectProblem(await call('DELETE', '/v1/calendars/used'), 'calendar-in-use');
    await call('PATCH', '/v1/queues/user', { body: { businessDaysOnly: null } });
    expect((await call('DELETE', '/v1/calendars/used')).status).toBe(204);
    expectProblem(await call('DELETE', '/v1/calendars/used'), 'not-found');
  });

  it('succeeds when the queue that named it is deleted', async () => {
    await call('PUT', '/v1/calendars/freed', { body: UTC });
    await call('PUT', '/v1/queues/gone', { body: { businessDaysOnly: 'freed' } });
    await call('DELETE', '/v1/queues/gone');
    expect((await call('DELETE', '/v1/calendars/freed')).status).toBe(204);
  });
});
