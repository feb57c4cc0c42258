import type { NamedCalendar, QueueSettings } from '../model.ts';
import { openingHoursErrors } from '../policy/windows.ts';
import type { InputError } from '../protocol/problem.ts';
import type { ActiveWindow, BusinessCalendar } from '../protocol/resources.ts';
import type { CalendarUse } from '../store/calendar.ts';
import type { PartialQueueSettings } from '../store/queue.ts';
import { received } from './input-errors.ts';
import { type TargetRefusal, targetUrlError } from './schemas/target-url.ts';

/**
 * What is wrong with settings that are each good by themselves; empty = nothing. `given` is the body and
 * `resolved` what would be in force: a patch is judged together with what it is put over, but never
 * for what it does not touch.
 */
export function queueSettingsErrors(
  given: PartialQueueSettings,
  resolved: QueueSettings,
  calendar: NamedCalendar | null,
  now: Date,
): InputError[] {
  return [...flowErrors(given, resolved), ...hoursErrors(given, resolved, calendar, now)];
}

/** Whether tasks may be sent to the settings' base URL, as far as that is known. */
export function baseUrlErrors(
  { target }: PartialQueueSettings,
  refusal: TargetRefusal,
): InputError[] {
  const url = target?.baseUrl ?? null;
  const expected = url === null ? null : targetUrlError(url, refusal);
  return expected === null ? [] : [wrong('/target/baseUrl', expected, url)];
}

/** Whether the settings' opening hours have to be judged, for which their calendar is needed. */
export function changesHours(given: PartialQueueSettings): boolean {
  return given.activeWindows !== undefined || given.businessDaysOnly !== undefined;
}

function flowErrors(given: PartialQueueSettings, { flow }: QueueSettings): InputError[] {
  if (!given.flow || flow === null) return [];
  const { maxDispatchesPerSecond: rate, maxConcurrentDispatches: concurrency, ordered } = flow;
  if (ordered && concurrency !== null && concurrency > 1) {
    return [wrong('/flow/maxConcurrentDispatches', '1 or null, for `ordered` is one', concurrency)];
  }
  if (!ordered && rate === null && concurrency === null) {
    const expected =
      'a maxDispatchesPerSecond, a maxConcurrentDispatches or ordered: true; or null';
    return [{ pointer: '/flow', expected, received: 'no limit' }];
  }
  const { rateLimits = {} } = given;
  return (['maxDispatchesPerSecond', 'maxConcurrentDispatches'] as const).flatMap((field) => {
    const ofKey = given.flow?.[field] ?? 0;
    const ofQueue = rateLimits[field];
    const isAbove = ofQueue !== undefined && ofKey > ofQueue;
    const expected = `at most the queue’s own, /rateLimits/${field}: ${ofQueue}`;
    return isAbove ? [wrong(`/flow/${field}`, expected, ofKey)] : [];
  });
}

function hoursErrors(
  given: PartialQueueSettings,
  { activeWindows: windows, businessDaysOnly }: QueueSettings,
  calendar: NamedCalendar | null,
  now: Date,
): InputError[] {
  if (!changesHours(given)) return [];
  if (businessDaysOnly !== null && calendar === null) return [unknownCalendar(businessDaysOnly)];
  const [error] = openingHoursErrors({ windows, calendar }, now);
  if (error === undefined) return [];
  return given.activeWindows
    ? [wrong('/activeWindows', `${error.expected}, on business days too`, windows)]
    : [wrong('/businessDaysOnly', `${error.expected} of /activeWindows`, businessDaysOnly)];
}

/** What is wrong with a calendar for the queues that name it: one that would never open again. */
export function calendarUseErrors(
  calendar: BusinessCalendar,
  uses: readonly CalendarUse[],
  now: Date,
): InputError[] {
  const opens = (windows: ActiveWindow[], on: BusinessCalendar) =>
    openingHoursErrors({ windows, calendar: on }, now).length === 0;
  return uses.flatMap(({ windows, queue }) => {
    if (opens(windows, calendar)) return [];
    const field = opens(windows, { ...calendar, holidays: [] }) ? 'holidays' : 'weekend';
    const expected = `business days on which queue "${queue}", which names the calendar, ever opens`;
    return [wrong(`/${field}`, expected, calendar[field])];
  });
}

export function unknownCalendar(name: string): InputError {
  return wrong('/businessDaysOnly', 'the name of a calendar of this project', name);
}

function wrong(pointer: string, expected: string, value: unknown): InputError {
  return { pointer, expected, received: received(value) };
}
