/**
 * When a queue may dispatch. Windows are wall time of a zone, so a day may have 23, 24 or 25 hours, and
 * the clock changes are read exactly:
 * - A start or end that the clocks skip is the first instant after the gap; a window wholly inside a gap
 *   does not open that day.
 * - A start that comes twice is its first occurrence, an end that comes twice its last: nothing that a
 *   window could mean is left out. An end at midnight is the first instant of the next date.
 */
import {
  type ActiveWindow,
  type BusinessCalendar,
  WEEKDAYS,
  type Weekday,
} from '../protocol/resources.ts';
import { boundText } from './error-text.ts';
import { instantOf, isTimeZone, type Zone, zoneOf } from './local-time.ts';

/**
 * Windows without a calendar are open by themselves. With one, a window opens only where the date it
 * starts on, in its own zone, is a business day. A calendar alone opens from midnight to midnight of its
 * business days, in its zone. Neither = always open.
 */
export interface OpeningHours {
  windows: ActiveWindow[];
  calendar: BusinessCalendar | null;
}

/** A way to ask often: it remembers the current state and how long it lasts. Times are epoch ms. */
export interface WindowClock {
  isOpen(nowMs: number): boolean;
  /** When `isOpen` next changes, always after now; null = not within 400 days. */
  nextChangeMs(nowMs: number): number | null;
}

/** One thing that is wrong with a window or calendar, in the words of the API's `errors`. */
export interface WindowError {
  path: (string | number)[];
  expected: string;
  received: string;
}

/** How far ahead an opening or closing is looked for. */
export const LOOKAHEAD_DAYS = 400;

const MINUTE_MS = 60_000;
const DAY_MINUTES = 24 * 60;
const DAY_MS = DAY_MINUTES * MINUTE_MS;
const LOOKAHEAD_MS = LOOKAHEAD_DAYS * DAY_MS;

/**
 * A clock for hours that `openingHoursErrors` finds nothing wrong with; throws a RangeError for a zone
 * that the runtime does not know. It may be asked about any time in any order, and is fastest forwards.
 *
 * @example
 * ```ts
 * const night = { days: ['fri'], start: '22:00', end: '06:00', timeZone: 'Europe/Berlin' };
 * const clock = createWindowClock({ windows: [night], calendar: null });
 * clock.isOpen(Date.parse('2026-03-27T23:00:00Z')); // true: Saturday, 00:00
 * ```
 */
export function createWindowClock(hours: OpeningHours): WindowClock {
  const rules = rulesOf(hours);
  if (rules === null) return { isOpen: () => true, nextChangeMs: () => null };
  let state: State | undefined;
  const stateAt = (nowMs: number) => {
    const isKnown = state && nowMs >= state.fromMs && nowMs < state.untilMs;
    if (!isKnown) state = findState(rules, nowMs);
    return state!;
  };
  return {
    isOpen: (nowMs) => stateAt(nowMs).open,
    nextChangeMs(nowMs) {
      const { changeMs } = stateAt(nowMs);
      return changeMs !== null && changeMs <= nowMs + LOOKAHEAD_MS ? changeMs : null;
    },
  };
}

/** Whether a queue with these hours may dispatch now. */
export function isOpen(hours: OpeningHours, now: Date): boolean {
  return createWindowClock(hours).isOpen(now.getTime());
}

/** The next instant, after now, that ends a closed time; null = none within 400 days. */
export function nextOpening(hours: OpeningHours, now: Date): Date | null {
  const clock = createWindowClock(hours);
  const nowMs = now.getTime();
  const changeMs = clock.nextChangeMs(nowMs);
  // Where it is open now, the next change closes it.
  const isClosing = changeMs !== null && clock.isOpen(nowMs);
  const openingMs = isClosing ? clock.nextChangeMs(changeMs) : changeMs;
  return openingMs !== null && openingMs <= nowMs + LOOKAHEAD_MS ? new Date(openingMs) : null;
}

/** What is wrong with a window; empty = nothing. */
export function windowErrors(window: ActiveWindow): WindowError[] {
  const { start, end, timeZone } = window;
  const errors = [...dayErrors('days', window.days), ...timeZoneErrors(timeZone)];
  if (window.days.length === 0) errors.push(wrong(['days'], 'at least 1 day'));
  if (!isTime(start)) errors.push(wrong(['start'], 'HH:MM from 00:00 to 23:59', start));
  if (!isTime(end) && end !== '24:00') {
    errors.push(wrong(['end'], 'HH:MM from 00:00 to 24:00', end));
  }
  if (start === end) {
    // It could mean a whole day or nothing at all.
    errors.push(wrong(['end'], 'another time than start; a whole day is 00:00 to 24:00', end));
  }
  return errors;
}

/** What is wrong with a calendar; empty = nothing. A holiday that is listed twice counts once. */
export function calendarErrors(calendar: BusinessCalendar): WindowError[] {
  const { holidays, weekend, timeZone } = calendar;
  const errors = [...dayErrors('weekend', weekend), ...timeZoneErrors(timeZone)];
  holidays.forEach((date, index) => {
    if (!isDate(date)) errors.push(wrong(['holidays', index], 'a date as YYYY-MM-DD', date));
  });
  return errors;
}

/** What is wrong with the whole, hours that do not open within 400 days of now included. */
export function openingHoursErrors(hours: OpeningHours, now: Date): WindowError[] {
  const { windows, calendar } = hours;
  const errors = [
    ...windows.flatMap((window, index) => under(['windows', index], windowErrors(window))),
    ...(calendar ? under(['calendar'], calendarErrors(calendar)) : []),
  ];
  const opens = errors.length > 0 || isOpen(hours, now) || nextOpening(hours, now) !== null;
  if (opens) return errors;
  const place = windows.length > 0 ? 'windows' : 'calendar';
  return [wrong([place], `an opening within ${LOOKAHEAD_DAYS} days`)];
}

/** A window made ready: minutes count from midnight of the day it starts on. */
interface Rule {
  opensOn(day: number): boolean;
  startMinute: number;
  endMinute: number;
  zone: Zone;
}

/** From `startMs`, up to and not including `endMs`. */
interface Span {
  startMs: number;
  endMs: number;
}

/** Whether it is open, known from `fromMs` up to `untilMs`, and when that changes. */
interface State {
  open: boolean;
  fromMs: number;
  untilMs: number;
  changeMs: number | null;
}

/** Null = always open. */
function rulesOf({ windows, calendar }: OpeningHours): Rule[] | null {
  const isBusinessDay = calendar ? businessDays(calendar) : () => true;
  if (windows.length === 0) {
    if (!calendar) return null;
    const zone = zoneOf(calendar.timeZone);
    return [{ opensOn: isBusinessDay, startMinute: 0, endMinute: DAY_MINUTES, zone }];
  }
  return windows.map((window) => {
    const startMinute = minutesOf(window.start);
    const endMinute = minutesOf(window.end);
    return {
      opensOn: (day) => window.days.includes(weekdayOf(day)) && isBusinessDay(day),
      startMinute,
      endMinute: endMinute <= startMinute ? endMinute + DAY_MINUTES : endMinute,
      zone: zoneOf(window.timeZone),
    };
  });
}

function businessDays({ holidays, weekend }: BusinessCalendar) {
  const free = new Set(holidays.map((date) => Date.parse(date) / DAY_MS));
  return (day: number) => !weekend.includes(weekdayOf(day)) && !free.has(day);
}

function findState(rules: Rule[], nowMs: number): State {
  // Most hours change within a week. The long look goes a day past the horizon, so it is good for a day.
  const near = lookAhead(rules, nowMs, 8 * DAY_MS);
  const { open, changeMs } =
    near.changeMs === null ? lookAhead(rules, nowMs, LOOKAHEAD_MS + DAY_MS) : near;
  return { open, fromMs: nowMs, untilMs: changeMs ?? nowMs + DAY_MS, changeMs };
}

function lookAhead(rules: Rule[], nowMs: number, aheadMs: number) {
  const span = openSpans(rules, nowMs, nowMs + aheadMs).find(({ endMs }) => endMs > nowMs);
  const open = span !== undefined && span.startMs <= nowMs;
  const changeMs = open ? span.endMs : span?.startMs;
  // What lies later is not the whole of it: the days after it were not looked at.
  const isSeen = changeMs !== undefined && changeMs <= nowMs + aheadMs;
  return { open, changeMs: isSeen ? changeMs : null };
}

/** All open time from one instant to another, and some around it: in order, what touches joined. */
function openSpans(rules: Rule[], fromMs: number, toMs: number): Span[] {
  // A zone's date is at most a day off UTC's, and a window may have started on the date before.
  const lastDay = Math.floor(toMs / DAY_MS) + 1;
  const spans: Span[] = [];
  for (let day = Math.floor(fromMs / DAY_MS) - 2; day <= lastDay; day += 1) {
    for (const rule of rules) if (rule.opensOn(day)) spans.push(spanOn(rule, day));
  }
  const joined: Span[] = [];
  for (const span of spans.sort((one, other) => one.startMs - other.startMs)) {
    const last = joined.at(-1);
    if (span.endMs <= span.startMs) continue;
    if (last && span.startMs <= last.endMs) last.endMs = Math.max(last.endMs, span.endMs);
    else joined.push(span);
  }
  return joined;
}

function spanOn({ startMinute, endMinute, zone }: Rule, day: number): Span {
  const midnightMs = day * DAY_MS;
  const isMidnight = endMinute === DAY_MINUTES;
  return {
    startMs: instantOf(zone, midnightMs + startMinute * MINUTE_MS, 'first'),
    endMs: instantOf(zone, midnightMs + endMinute * MINUTE_MS, isMidnight ? 'first' : 'last'),
  };
}

function weekdayOf(day: number): Weekday {
  // 1970-01-01 was a Thursday.
  return WEEKDAYS[(((day + 3) % 7) + 7) % 7]!;
}

function minutesOf(time: string): number {
  return Number(time.slice(0, 2)) * 60 + Number(time.slice(3));
}

function dayErrors(field: string, days: Weekday[]): WindowError[] {
  return days.flatMap((day, index) => {
    if (!WEEKDAYS.includes(day)) return wrong([field, index], WEEKDAYS.join(' or '), day);
    return days.indexOf(day) < index ? wrong([field, index], 'each day once', day) : [];
  });
}

function timeZoneErrors(timeZone: string): WindowError[] {
  return isTimeZone(timeZone)
    ? []
    : [wrong(['timeZone'], 'an IANA time zone, as Europe/Berlin', timeZone)];
}

function isTime(text: string): boolean {
  return /^([01]\d|2[0-3]):[0-5]\d$/.test(text);
}

function isDate(text: string): boolean {
  const day = /^\d{4}-\d\d-\d\d$/.test(text) ? new Date(text) : new Date(Number.NaN);
  return !Number.isNaN(day.getTime()) && day.toISOString().startsWith(text);
}

function under(path: WindowError['path'], errors: WindowError[]): WindowError[] {
  return errors.map((error) => ({ ...error, path: [...path, ...error.path] }));
}

function wrong(path: WindowError['path'], expected: string, text?: string): WindowError {
  const received = text === undefined ? 'none' : JSON.stringify(boundText(text, 60));
  return { path, expected, received };
}
