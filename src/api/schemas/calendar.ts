import { z } from '@hono/zod-openapi';
import { calendarErrors, type WindowError } from '../../policy/windows.ts';
import { CALENDAR_NAME_PATTERN } from '../../protocol/limits.ts';
import { type BusinessCalendar, type Calendar, WEEKDAYS } from '../../protocol/resources.ts';
import { objectError } from './common.ts';

const MAX_HOLIDAYS = 2_000;

export const weekdaySchema = z.enum(WEEKDAYS, { error: WEEKDAYS.join(' or ') }).openapi('Weekday');

export const calendarNameSchema = z
  .string({ error: 'a calendar name' })
  .regex(CALENDAR_NAME_PATTERN, { error: '1 to 100 of A-Z a-z 0-9 _ -' });

export const calendarParams = z.object({
  calendar: calendarNameSchema.openapi({
    param: { name: 'calendar', in: 'path' },
    example: 'germany',
    description: 'Name of the calendar.',
  }),
});

const shape = {
  timeZone: z
    .string({ error: 'an IANA time zone' })
    .openapi({ description: 'IANA name.', example: 'Europe/Berlin' }),
  holidays: z
    .array(z.string({ error: 'a date as YYYY-MM-DD' }), { error: 'an array of dates' })
    .max(MAX_HOLIDAYS)
    .openapi({ description: '`YYYY-MM-DD`. Default none.', example: ['2026-12-25'] }),
  weekend: z
    .array(weekdaySchema, { error: 'an array of days' })
    .max(WEEKDAYS.length - 1, { error: `at most ${WEEKDAYS.length - 1} days, or it never opens` })
    .openapi({ description: 'Default Saturday and Sunday.' }),
} satisfies Record<keyof BusinessCalendar, z.ZodType>;

export const calendarInputSchema = z
  .strictObject(
    {
      timeZone: shape.timeZone,
      holidays: shape.holidays.default([]),
      weekend: shape.weekend.default(['sat', 'sun']),
    },
    { error: objectError },
  )
  .superRefine((calendar, context) => addWindowErrors(calendarErrors(calendar), context))
  .openapi('BusinessCalendar', {
    example: { timeZone: 'Europe/Berlin', holidays: ['2026-12-25', '2026-12-26'] },
  });

export const calendarSchema = z
  .object({
    name: calendarNameSchema,
    ...shape,
    updatedAt: z.iso.datetime(),
  } satisfies Record<keyof Calendar, z.ZodType>)
  .openapi('Calendar', {
    example: {
      name: 'germany',
      timeZone: 'Europe/Berlin',
      holidays: ['2026-12-25', '2026-12-26'],
      weekend: ['sat', 'sun'],
      updatedAt: '2026-01-02T03:04:05.678Z',
    },
  });

/** The policy's findings as issues, which find out by themselves what was received. */
export function addWindowErrors(
  errors: readonly WindowError[],
  context: {
    addIssue(issue: { code: 'custom'; message: string; path: (string | number)[] }): void;
  },
): void {
  for (const { path, expected } of errors) {
    context.addIssue({ code: 'custom', message: expected, path });
  }
}
