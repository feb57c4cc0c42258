import fc from 'fast-check';
import { expect, test } from 'vitest';
import { retryAfterSeconds } from '../../src/policy/retry-after.ts';

const now = new Date('1994-11-06T08:49:07Z');

test.each([
  ['delta-seconds', '120', 120],
  ['delta-seconds of 0', '0', 0],
  ['spaces around', ' 7 ', 7],
  ['more digits than a number holds', '9'.repeat(400), Number.POSITIVE_INFINITY],
  ['an IMF-fixdate', 'Sun, 06 Nov 1994 08:49:37 GMT', 30],
  ['an RFC 850 date', 'Sunday, 06-Nov-94 08:49:37 GMT', 30],
  ['an asctime date, which is UTC', 'Sun Nov  6 08:49:37 1994', 30],
  ['a date that has passed', 'Sat, 05 Nov 1994 08:49:37 GMT', 0],
  ['no header', null, 0],
  ['an empty header', '', 0],
  ['a negative number', '-5', 0],
  ['a fraction', '1.5', 0],
  ['an exponent', '1e3', 0],
  ['an ISO date, which is no HTTP-date', '1994-11-06T08:49:37Z', 0],
  ['what only Date.parse takes for a date', 'May 2030', 0],
  ['the form of a date but no day', 'Sun, 99 Nov 1994 08:49:37 GMT', 0],
  ['junk', 'soon', 0],
])('retryAfterSeconds() of %s', (_, header, expected) => {
  expect(retryAfterSeconds(header, now)).toBe(expected);
});

test('retryAfterSeconds() reads every toUTCString() as its distance from now', () => {
  const dates = fc.date({
    min: now,
    max: new Date('9999-12-31T00:00:00Z'),
    noInvalidDate: true,
  });
  fc.assert(
    fc.property(dates, (date) => {
      const wholeSeconds = Math.floor(date.getTime() / 1000) - now.getTime() / 1000;
      return retryAfterSeconds(date.toUTCString(), now) === wholeSeconds;
    }),
  );
});

test('retryAfterSeconds() is a number from 0 for any text', () => {
  fc.assert(fc.property(fc.string(), (header) => retryAfterSeconds(header, now) >= 0));
});
