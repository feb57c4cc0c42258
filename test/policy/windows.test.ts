import { describe, expect, test } from 'vitest';
import {
  calendarErrors,
  createWindowClock,
  isOpen,
  nextOpening,
  type OpeningHours,
  openingHoursErrors,
  windowErrors,
} from '../../src/policy/windows.ts';
import {
  type ActiveWindow,
  type BusinessCalendar,
  WEEKDAYS,
  type Weekday,
} from '../../src/protocol/resources.ts';

const DAY_MS = 24 * 60 * 60_000;

describe('createWindowClock() opens and closes', () => {
  // Each from the date given, for two days, in UTC.
  test.each([
    ['Europe/Berlin', 'fri 09:00-17:00', '2026-03-27', ['27T08:00 27T16:00']],
    ['Europe/Berlin', 'mon 09:00-17:00', '2026-03-30', ['30T07:00 30T15:00']],
    ['Europe/Berlin', 'sun 00:00-24:00', '2026-03-28', ['28T23:00 29T22:00']],
    ['Europe/Berlin', 'sun 00:00-24:00', '2026-10-24', ['24T22:00 25T23:00']],
    ['Europe/Berlin', 'sun 02:30-05:00', '2026-03-29', ['29T01:00 29T03:00']],
    ['Europe/Berlin', 'sun 01:00-02:30', '2026-03-28', ['29T00:00 29T01:00']],
    ['Europe/Berlin', 'sun 02:10-02:50', '2026-03-28', []],
    ['Europe/Berlin', 'sun 02:30-04:00', '2026-10-24', ['25T00:30 25T03:00']],
    ['Europe/Berlin', 'sun 01:00-02:30', '2026-10-24', ['24T23:00 25T01:30']],
    ['Europe/Berlin', 'sat 22:00-06:00', '2026-03-28', ['28T21:00 29T04:00']],
    ['Europe/Berlin', 'sat 22:00-06:00', '2026-10-24', ['24T20:00 25T05:00']],
    ['Europe/Berlin', 'sat 22:00-02:30', '2026-03-28', ['28T21:00 29T01:00']],
    ['Europe/Berlin', 'sat 22:00-02:30', '2026-10-24', ['24T20:00 25T01:30']],
    ['America/New_York', 'sun 01:30-03:30', '2026-03-08', ['08T06:30 08T07:30']],
    ['America/New_York', 'sun 01:30-01:45', '2026-11-01', ['01T05:30 01T06:45']],
    ['America/New_York', 'sat 22:00-06:00', '2026-11-01', ['01T02:00 01T11:00']],
    ['Pacific/Apia', 'thu 22:00-06:00', '2011-12-30', ['30T08:00 30T10:00']],
    ['Pacific/Apia', 'fri 09:00-17:00', '2011-12-29', []],
    [
      'Pacific/Apia',
      'thu,fri,sat 10:00-13:00',
      '2011-12-29',
      ['29T20:00 29T23:00', '30T20:00 30T23:00'],
    ],
    ['Australia/Lord_Howe', 'sun 02:15-04:00', '2026-10-03', ['03T15:30 03T17:00']],
    ['Australia/Lord_Howe', 'sun 00:00-24:00', '2026-04-04', ['04T13:00 05T13:30']],
    ['Australia/Lord_Howe', 'sun 01:45-02:00', '2026-04-04', ['04T14:45 04T15:30']],
    ['Asia/Kolkata', 'mon 09:00-18:00', '2026-03-30', ['30T03:30 30T12:30']],
    ['America/Nuuk', 'sat 23:30-02:00', '2026-03-28', ['29T01:00 29T03:00']],
    ['America/Nuuk', 'sat 23:30-24:00', '2026-10-24', ['25T00:30 25T02:00']],
    ['UTC', 'mon 22:00-00:00', '2026-03-30', ['30T22:00 31T00:00']],
    ['America/Havana', 'sat 22:00-24:00', '2026-11-01', ['01T02:00 01T04:00']],
    ['America/Havana', 'sun 00:00-24:00', '2026-11-01', ['01T04:00 02T05:00']],
    ['America/Havana', 'sun 00:00-02:00', '2026-03-08', ['08T05:00 08T06:00']],
  ])('%s %s from %s: %j', (timeZone, text, date, spans) => {
    expect(spansFrom({ windows: [windowOf(text, timeZone)], calendar: null }, date, 2)).toEqual(
      spans,
    );
  });

  test('joins windows that touch or overlap, whatever their zones', () => {
    const windows = [
      windowOf('mon 10:00-12:00', 'Europe/Berlin'),
      windowOf('mon 10:00-11:00', 'UTC'),
      windowOf('mon 16:30-17:00', 'Asia/Kolkata'),
    ];
    expect(spansFrom({ windows, calendar: null }, '2026-01-05', 2)).toEqual(['05T09:00 05T11:30']);
  });

  test('on business days from midnight to midnight when there are no windows', () => {
    const calendar = calendarOf('America/New_York', ['2026-07-03']);
    expect(spansFrom({ windows: [], calendar }, '2026-07-02', 6)).toEqual([
      '02T00:00 03T04:00',
      '06T04:00 08T00:00',
    ]);
  });

  test('by the day that a window starts on when there is a calendar', () => {
    const windows = [windowOf('thu,fri,sun,mon 22:00-06:00', 'UTC')];
    const calendar = calendarOf('UTC', ['2026-03-30']);
    expect(spansFrom({ windows, calendar }, '2026-03-26', 7)).toEqual([
      '26T22:00 27T06:00',
      '27T22:00 28T06:00',
    ]);
    const friday = { ...calendar, weekend: ['fri'] satisfies Weekday[] };
    expect(spansFrom({ windows, calendar: friday }, '2026-03-26', 7)).toEqual([
      '26T22:00 27T06:00',
      '29T22:00 30T06:00',
    ]);
  });

  test('throws a RangeError for a zone that does not exist', () => {
    const windows = [windowOf('mon 09:00-17:00', 'Mars/Olympus')];
    expect(() => createWindowClock({ windows, calendar: null })).toThrow(RangeError);
  });
});

describe('nextOpening()', () => {
  const work = { windows: [windowOf('mon,tue 09:00-17:00', 'UTC')], calendar: null };

  test.each([
    ['2026-01-05T08:59:59.999Z', false, '2026-01-05T09:00:00.000Z'],
    ['2026-01-05T09:00:00.000Z', true, '2026-01-06T09:00:00.000Z'],
    ['2026-01-05T17:00:00.000Z', false, '2026-01-06T09:00:00.000Z'],
    ['2026-01-06T17:00:00.000Z', false, '2026-01-12T09:00:00.000Z'],
  ])('is after %s', (now, open, opening) => {
    expect(isOpen(work, new Date(now))).toBe(open);
    expect(nextOpening(work, new Date(now))?.toISOString()).toBe(opening);
  });

  const ever = { windows: [windowOf(`${WEEKDAYS} 00:00-24:00`, 'Europe/Berlin')], calendar: null };
  const never = { windows: [], calendar: { ...calendarOf('UTC', []), weekend: [...WEEKDAYS] } };
  test.each([
    ['no hours', { windows: [], calendar: null }, true],
    ['every day around the clock', ever, true],
    ['no business day', never, false],
  ])('is null for %s', (_, hours, open) => {
    const now = new Date('2026-01-05T12:00:00Z');
    expect(isOpen(hours, now)).toBe(open);
    expect(nextOpening(hours, now)).toBeNull();
  });

  test('passes over a day on which the clocks skip the whole window', () => {
    const windows = [windowOf('sun 02:10-02:50', 'Europe/Berlin')];
    const opening = nextOpening({ windows, calendar: null }, new Date('2026-03-28T12:00:00Z'));
    expect(opening?.toISOString()).toBe('2026-04-05T00:10:00.000Z');
  });

  test('a window that started two UTC dates before is seen', () => {
    const windows = [windowOf('fri 23:00-22:00', 'America/New_York')];
    const clock = createWindowClock({ windows, calendar: null });
    const nowMs = Date.parse('2026-01-11T02:30:00Z');
    expect(clock.isOpen(nowMs)).toBe(true);
    expect(clock.nextChangeMs(nowMs)).toBe(Date.parse('2026-01-11T03:00:00Z'));
  });

  test('is looked for 400 days ahead of each question', () => {
    const holidayMs = Date.parse('2027-03-01T00:00:00Z');
    const hours = { windows: [], calendar: { ...calendarOf('UTC', ['2027-03-01']), weekend: [] } };
    const clock = createWindowClock(hours);
    const changes = [405, 400.5, 400].map((days) => clock.nextChangeMs(holidayMs - days * DAY_MS));
    expect(changes).toEqual([null, null, holidayMs]);
    const openings = [400, 399].map((days) =>
      nextOpening(hours, new Date(holidayMs - days * DAY_MS)),
    );
    expect(openings).toEqual([null, new Date(holidayMs + DAY_MS)]);
  });
});

describe('windowErrors(), calendarErrors() and openingHoursErrors()', () => {
  const good = windowOf('mon,tue 09:00-17:00', 'Europe/Berlin');
  const now = new Date('2026-01-05T12:00:00Z');

  test.each<[Partial<ActiveWindow>, (string | number)[][]]>([
    [{}, []],
    [{ start: '00:00', end: '24:00' }, []],
    [{ start: '22:00', end: '00:00' }, []],
    [{ timeZone: 'europe/berlin' }, []],
    [{ timeZone: 'Mars/Olympus' }, [['timeZone']]],
    [{ timeZone: '+01:00' }, [['timeZone']]],
    [{ timeZone: '' }, [['timeZone']]],
    [{ days: [] }, [['days']]],
    [{ days: ['mon', 'tue', 'mon'] }, [['days', 2]]],
    [{ days: ['Monday' as Weekday] }, [['days', 0]]],
    [{ start: '9:00' }, [['start']]],
    [{ start: '24:00' }, [['start']]],
    [{ end: '24:01' }, [['end']]],
    [{ start: '12:60', end: '17:00\n' }, [['start'], ['end']]],
    [{ start: '00:00', end: '00:00' }, [['end']]],
  ])('a window with %j is wrong at %j', (change, paths) => {
    expect(windowErrors({ ...good, ...change }).map(({ path }) => path)).toEqual(paths);
  });

  test.each<[Partial<BusinessCalendar>, (string | number)[][]]>([
    [{}, []],
    [{ holidays: ['2024-02-29', '2024-02-29'], weekend: [] }, []],
    [
      { holidays: ['2026-01-01', '2026-02-29', '2026-1-1', ''] },
      [
        ['holidays', 1],
        ['holidays', 2],
        ['holidays', 3],
      ],
    ],
    [{ weekend: ['sun', 'sun'] }, [['weekend', 1]]],
    [{ timeZone: 'Berlin' }, [['timeZone']]],
  ])('a calendar with %j is wrong at %j', (change, paths) => {
    const calendar = { ...calendarOf('UTC', []), ...change };
    expect(calendarErrors(calendar).map(({ path }) => path)).toEqual(paths);
  });

  test('say what was expected and what came', () => {
    const windows = [good, { ...good, start: 'x'.repeat(100) }];
    expect(openingHoursErrors({ windows, calendar: null }, now)).toEqual([
      {
        path: ['windows', 1, 'start'],
        expected: 'HH:MM from 00:00 to 23:59',
        received: `"${'x'.repeat(59)}…"`,
      },
    ]);
  });

  test('refuse hours that do not open within 400 days', () => {
    const calendar = calendarOf('UTC', []);
    const windows = [windowOf('sat,sun 09:00-17:00', 'UTC')];
    const never = { path: ['windows'], expected: 'an opening within 400 days', received: 'none' };
    expect(openingHoursErrors({ windows, calendar }, now)).toEqual([never]);
    expect(openingHoursErrors({ windows, calendar: null }, now)).toEqual([]);
    expect(openingHoursErrors({ windows: [], calendar }, now)).toEqual([]);
    const free = { ...calendar, weekend: [...WEEKDAYS] };
    expect(openingHoursErrors({ windows: [], calendar: free }, now)).toEqual([
      { ...never, path: ['calendar'] },
    ]);
  });
});

function windowOf(text: string, timeZone: string): ActiveWindow {
  const [days = '', times = ''] = text.split(' ');
  const [start = '', end = ''] = times.split('-');
  return { days: days.split(',') as Weekday[], start, end, timeZone };
}

function calendarOf(timeZone: string, holidays: string[]): BusinessCalendar {
  return { timeZone, holidays, weekend: ['sat', 'sun'] };
}

/** The open times from a UTC date on, as `DDTHH:MM DDTHH:MM`, cut at both ends. */
function spansFrom(hours: OpeningHours, date: string, days: number): string[] {
  const clock = createWindowClock(hours);
  const endMs = Date.parse(date) + days * DAY_MS;
  const spans: string[] = [];
  let fromMs = Date.parse(date);
  while (fromMs < endMs) {
    const toMs = Math.min(clock.nextChangeMs(fromMs) ?? endMs, endMs);
    if (clock.isOpen(fromMs)) spans.push(`${dayAndTime(fromMs)} ${dayAndTime(toMs)}`);
    fromMs = toMs;
  }
  return spans;
}

function dayAndTime(ms: number): string {
  return new Date(ms).toISOString().slice(8, 16);
}
