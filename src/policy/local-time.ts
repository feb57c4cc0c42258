/** How far a zone's clocks are ahead of UTC, in milliseconds. */
export interface Zone {
  offsetMs(instantMs: number): number;
  /** The same at 00:00 UTC of a day, counted from 1970-01-01; remembered. */
  midnightOffsetMs(day: number): number;
}

const DAY_MS = 24 * 60 * 60 * 1000;

/** More than a year and a month of midnights, the furthest that a window looks ahead. */
const MAX_KNOWN_OFFSETS = 1000;

/** A formatter is slow and large to make, so each zone has one, however its name is capitalised. */
const zones = new Map<string, Zone>();

/** The zone of an IANA name in any case; throws a RangeError if the runtime does not know it. */
export function zoneOf(timeZone: string): Zone {
  const key = timeZone.toLowerCase();
  const zone = zones.get(key) ?? createZone(timeZone);
  zones.set(key, zone);
  return zone;
}

/** Whether it is the IANA name of a zone. A plain offset, as `+01:00`, is not. */
export function isTimeZone(timeZone: string): boolean {
  if (/^[+-]/.test(timeZone)) return false;
  try {
    return zoneOf(timeZone) !== undefined;
  } catch (error) {
    if (error instanceof RangeError) return false;
    throw error;
  }
}

/**
 * The instant at which a zone's clocks show `wallMs`, a local time written as if it were UTC. One that
 * the clocks show twice is its first or last occurrence, one that they skip the first instant after the
 * gap. Holds for offsets below a day, changed at most once in three days: all zones since 1970.
 *
 * @example
 * ```ts
 * // Berlin's clocks went from 02:00 to 03:00.
 * instantOf(zoneOf('Europe/Berlin'), Date.parse('2026-03-29T02:30Z'), 'first');
 * // Date.parse('2026-03-29T01:00Z')
 * ```
 */
export function instantOf(zone: Zone, wallMs: number, occurrence: 'first' | 'last'): number {
  const day = Math.floor(wallMs / DAY_MS);
  const before = zone.midnightOffsetMs(day - 1);
  const after = zone.midnightOffsetMs(day + 2);
  if (before === after) return wallMs - before;
  const instants = [wallMs - before, wallMs - after].filter(
    (instantMs) => instantMs + zone.offsetMs(instantMs) === wallMs,
  );
  if (instants.length === 0) return firstInstantWith(zone, after, wallMs - after, wallMs - before);
  return occurrence === 'first' ? Math.min(...instants) : Math.max(...instants);
}

/** The instant from which the offset is this one: it still is another at `lowMs`, and this at `highMs`. */
function firstInstantWith(zone: Zone, offsetMs: number, lowMs: number, highMs: number): number {
  if (highMs - lowMs <= 1) return highMs;
  const middleMs = Math.floor((lowMs + highMs) / 2);
  return zone.offsetMs(middleMs) === offsetMs
    ? firstInstantWith(zone, offsetMs, lowMs, middleMs)
    : firstInstantWith(zone, offsetMs, middleMs, highMs);
}

function createZone(timeZone: string): Zone {
  const format = new Intl.DateTimeFormat('en-US', {
    timeZone,
    hourCycle: 'h23',
    year: 'numeric',
    month: 'numeric',
    day: 'numeric',
    hour: 'numeric',
    minute: 'numeric',
    second: 'numeric',
  });
  const offsetMs = (instantMs: number) => {
    // The parts are in a fixed order in this locale, and reading them from text is the faster way.
    const [month, day, year, ...time] = format.format(instantMs).split(/\D+/).map(Number);
    return Date.UTC(year!, month! - 1, day, ...time) - Math.floor(instantMs / 1000) * 1000;
  };
  const known = new Map<number, number>();
  const midnightOffsetMs = (day: number) => {
    const offset = known.get(day) ?? offsetMs(day * DAY_MS);
    if (known.size >= MAX_KNOWN_OFFSETS) known.clear();
    known.set(day, offset);
    return offset;
  };
  return { offsetMs, midnightOffsetMs };
}
