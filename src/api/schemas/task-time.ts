import { z } from '@hono/zod-openapi';

const RFC_3339 =
  /^(\d{4})-(\d{2})-(\d{2})T(?:[01]\d|2[0-3]):[0-5]\d:[0-5]\d(?:\.\d{1,9})?(?:Z|[+-](?:[01]\d|2[0-3]):[0-5]\d)$/i;
const EXPECTED =
  'an RFC 3339 time with its offset (2026-01-02T03:04:05Z), not before 1970 and at most 10 years ahead';
const TEN_YEARS_MS = 315_360_000_000;

/** A point in time, kept as the text that came; `timeOf` reads it. */
export const timeSchema = z
  .string({ error: EXPECTED })
  .refine(isTime, { error: EXPECTED })
  .openapi({ format: 'date-time', example: '2026-01-02T03:04:05.678Z' });

/** The time that a text of `timeSchema` stands for, cut to milliseconds. */
export function timeOf(text: string): Date {
  return new Date(text.toUpperCase());
}

/** Source: RFC 3339, section 5.6, without leap seconds, which neither Date nor Postgres can hold. */
function isTime(text: string): boolean {
  const match = RFC_3339.exec(text);
  if (match === null || !isDay(Number(match[1]), Number(match[2]), Number(match[3]))) return false;
  const ms = timeOf(text).getTime();
  // The process's clock decides nothing here but which of two far ends is too far.
  return ms >= 0 && ms <= Date.now() + TEN_YEARS_MS;
}

/** Date takes the 31st of every month, and makes the 1st of the next of it. */
function isDay(year: number, month: number, day: number): boolean {
  if (month < 1 || month > 12 || day < 1) return false;
  return day <= new Date(Date.UTC(year, month, 0)).getUTCDate();
}
