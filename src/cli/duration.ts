import { InvalidArgumentError } from 'commander';

const UNIT_SECONDS = { s: 1, m: 60, h: 3_600, d: 86_400 } as const;

/** Seconds of a duration such as `90d`, `12h`, `30m` or `45s`, for an option of commander. */
export function parseDuration(text: string): number {
  const [, count, unit] = /^(\d{1,6})([smhd])$/.exec(text) ?? [];
  if (count === undefined) {
    throw new InvalidArgumentError('It must be a duration such as 90d, 12h, 30m or 45s.');
  }
  return Number(count) * UNIT_SECONDS[unit as keyof typeof UNIT_SECONDS];
}
