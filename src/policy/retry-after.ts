const DELTA_SECONDS = /^\d+$/;
const IMF_FIXDATE = /^[A-Z][a-z]{2}, \d{2} [A-Z][a-z]{2} \d{4} \d{2}:\d{2}:\d{2} GMT$/;
const RFC_850_DATE = /^[A-Z][a-z]{5,8}, \d{2}-[A-Z][a-z]{2}-\d{2} \d{2}:\d{2}:\d{2} GMT$/;
const ASCTIME_DATE = /^[A-Z][a-z]{2} [A-Z][a-z]{2} [ \d]\d \d{2}:\d{2}:\d{2} \d{4}$/;

/**
 * Seconds that a `Retry-After` header asks for, from `now`: delta-seconds or an HTTP-date. 0 for a
 * date that has passed or a header that is absent or is neither; `Infinity` for more digits than a
 * number holds, so the caller sets the bound.
 *
 * Source: RFC 9110, sections 10.2.3 and 5.6.7 (all three date forms must be understood).
 *
 * @example
 * ```ts
 * retryAfterSeconds('120', new Date()); // 120
 * ```
 */
export function retryAfterSeconds(header: string | null, now: Date): number {
  const value = header?.trim() ?? '';
  if (DELTA_SECONDS.test(value)) return Number(value);
  const dateMs = httpDateMs(value);
  return Number.isNaN(dateMs) ? 0 : Math.max(0, (dateMs - now.getTime()) / 1000);
}

/** `Date.parse` alone takes far more than HTTP-dates ("2", "May"), so the form is checked first. */
function httpDateMs(value: string): number {
  if (IMF_FIXDATE.test(value) || RFC_850_DATE.test(value)) return Date.parse(value);
  // An asctime date names no zone and means UTC.
  if (ASCTIME_DATE.test(value)) return Date.parse(`${value} GMT`);
  return Number.NaN;
}
