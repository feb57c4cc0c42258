import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import {
  createWindowClock,
  isOpen,
  nextOpening,
  type OpeningHours,
} from '../../src/policy/windows.ts';
import { WEEKDAYS, type Weekday } from '../../src/protocol/resources.ts';

const DAY_MS = 24 * 60 * 60_000;

describe('any hours around a clock change', () => {
  const places = [
    ['Europe/Berlin', '2026-03-29'],
    ['Europe/Berlin', '2026-10-25'],
    ['America/New_York', '2026-03-08'],
    ['America/New_York', '2026-11-01'],
    ['Pacific/Apia', '2011-12-30'],
    ['Australia/Lord_Howe', '2026-04-05'],
    ['Australia/Lord_Howe', '2026-10-04'],
    ['America/Havana', '2026-03-08'],
    ['America/Havana', '2026-11-01'],
    ['America/Nuuk', '2026-03-28'],
    ['America/Nuuk', '2026-10-25'],
    ['Asia/Kolkata', '2026-03-29'],
    ['UTC', '2026-03-29'],
  ] as const;
  const nightly = fc.integer({ min: 0, max: 4 * 12 });
  const minutes = fc.oneof(nightly, fc.nat(24 * 12 - 1)).map((count) => count * 5);
  const days = fc.subarray([...WEEKDAYS], { minLength: 1 });

  /** Hours whose windows are all in one zone, with a calendar that has a holiday near the date. */
  const hoursIn = (timeZone: string, date: string): fc.Arbitrary<OpeningHours> => {
    const window = fc
      .record({
        days,
        start: minutes.map(timeOf),
        end: fc.oneof(minutes.map(timeOf), fc.constant('24:00')),
      })
      .filter(({ start, end }) => start !== end)
      .map((times) => ({ ...times, timeZone }));
    const holidays = fc.integer({ min: -1, max: 1 }).map((offset) => [dateAfter(date, offset)]);
    const calendar = fc.record({
      timeZone: fc.constant(timeZone),
      holidays,
      weekend: fc.constant<Weekday[]>(['sat', 'sun']),
    });
    return fc.record({
      windows: fc.array(window, { maxLength: 3 }),
      calendar: fc.option(calendar, { freq: 2 }),
    });
  };
  const anywhere = fc.constantFrom(...places).chain(([timeZone, date]) =>
    fc.record({
      hours: hoursIn(timeZone, date),
      nowMs: fc.integer({ min: -3 * DAY_MS, max: 3 * DAY_MS }).map((ms) => Date.parse(date) + ms),
    }),
  );

  test.each(places)(
    '%s %s: isOpen() is what a slow reading of each minute says',
    (timeZone, date) => {
      const firstMs = Date.parse(date) - 5 * DAY_MS;
      const walls = wallMinutes(timeZone, firstMs, 10);
      fc.assert(
        fc.property(hoursIn(timeZone, date), (hours) => {
          const clock = createWindowClock(hours);
          const expected = slowlyOpen(hours, walls, date);
          // A window that began before the first of these minutes is not seen by the slow reading.
          for (let index = 2 * 1440; index < walls.length - 2 * 1440; index += 1) {
            const open = clock.isOpen(firstMs + index * 60_000);
            if (open !== expected[index]) throw new Error(`${walls[index]}: ${open}`);
          }
        }),
        { numRuns: 40 },
      );
    },
  );

  test('nextOpening() is open, and the instant before is closed', () => {
    fc.assert(
      fc.property(anywhere, ({ hours, nowMs }) => {
        const now = new Date(nowMs);
        const at = (date: Date, offsetMs: number) =>
          isOpen(hours, new Date(date.getTime() + offsetMs));
        const opening = nextOpening(hours, now);
        if (opening)
          expect([opening > now, at(opening, -1), at(opening, 0)]).toEqual([true, false, true]);
      }),
    );
  });

  test('a clock gives the same answers in any order, and changes when it said it would', () => {
    fc.assert(
      fc.property(
        anywhere,
        fc.array(fc.integer({ min: -DAY_MS, max: DAY_MS })),
        (place, offsets) => {
          const clock = createWindowClock(place.hours);
          for (const offset of offsets) {
            const nowMs = place.nowMs + offset;
            const fresh = createWindowClock(place.hours);
            const [open, changeMs] = [fresh.isOpen(nowMs), fresh.nextChangeMs(nowMs)];
            expect([clock.isOpen(nowMs), clock.nextChangeMs(nowMs)]).toEqual([open, changeMs]);
            if (changeMs === null) continue;
            expect([clock.isOpen(changeMs - 1), clock.isOpen(changeMs)]).toEqual([open, !open]);
          }
        },
      ),
    );
  });
});

/** What the clocks of a zone show in each minute, as `YYYY-MM-DD HH:MM`. */
function wallMinutes(timeZone: string, firstMs: number, days: number): string[] {
  const format = new Intl.DateTimeFormat('sv-SE', {
    timeZone,
    dateStyle: 'short',
    timeStyle: 'short',
  });
  return Array.from({ length: days * 1440 }, (_, index) => format.format(firstMs + index * 60_000));
}

/** Finds each window's start and end as text among the minutes: shares nothing with the code under test. */
function slowlyOpen({ windows, calendar }: OpeningHours, walls: string[], date: string): boolean[] {
  if (windows.length === 0 && !calendar) return walls.map(() => true);
  const allDay = { days: [...WEEKDAYS], start: '00:00', end: '24:00' };
  const open = walls.map(() => false);
  for (const { days, start, end } of windows.length > 0 ? windows : [allDay]) {
    for (let offset = -5; offset <= 5; offset += 1) {
      const label = dateAfter(date, offset);
      const weekday = new Date(label).toUTCString().slice(0, 3).toLowerCase() as Weekday;
      const isFree = ['sat', 'sun'].includes(weekday) || calendar?.holidays.includes(label);
      if (!days.includes(weekday) || (calendar && isFree)) continue;
      const endLabel = end === '24:00' || end <= start ? dateAfter(label, 1) : label;
      const from = firstAt(walls, `${label} ${start}`);
      const last = walls.lastIndexOf(`${endLabel} ${end}`);
      const isMidnight = end === '24:00' || end === '00:00';
      const to =
        isMidnight || last === -1
          ? firstAt(walls, `${endLabel} ${isMidnight ? '00:00' : end}`)
          : last;
      open.fill(true, from, to);
    }
  }
  return open;
}

function firstAt(walls: string[], wall: string): number {
  const index = walls.findIndex((shown) => shown >= wall);
  return index === -1 ? walls.length : index;
}

function timeOf(minutes: number): string {
  return new Date(minutes * 60_000).toISOString().slice(11, 16);
}

function dateAfter(date: string, days: number): string {
  return new Date(Date.parse(date) + days * DAY_MS).toISOString().slice(0, 10);
}
