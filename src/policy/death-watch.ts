/** What is known of a dispatcher from its row. */
export interface Pulse {
  id: number;
  /** A counter that it moves on ten times in its take-over time. */
  heartbeat: string;
  takeoverMs: number;
}

export interface DeathWatch {
  /**
   * One look at all the others: when it was sent and answered, by a monotonic clock. Returns the dead.
   */
  observe<Other extends Pulse>(
    others: readonly Other[],
    sentMs: number,
    answeredMs: number,
  ): Other[];
}

/** Seen by looks a tenth apart, one that stood still for so long is dead within the whole of it. */
const DEAD_SHARE = 0.8;
/** Who could not look for longer than this has no right to call another dead. */
const BLIND_SHARE = 0.5;

/**
 * Who is dead: whoever's counter stood still for 8/10 of the take-over time, as seen by an observer that
 * looked all along. So after an outage of the database nobody is dead at once. Where the two were told
 * different take-over times, the longer counts: it is the one that the other's certainty ends by, or the
 * one by which the observer looks.
 */
export function createDeathWatch(takeoverMs: number): DeathWatch {
  const seen = new Map<number, { heartbeat: string; sinceMs: number }>();
  let lastMs = Number.NEGATIVE_INFINITY;

  return {
    observe(others, sentMs, answeredMs) {
      const blindMs = sentMs - lastMs;
      lastMs = sentMs;
      const known = new Set(others.map(({ id }) => id));
      for (const id of seen.keys()) if (!known.has(id)) seen.delete(id);
      return others.filter(({ id, heartbeat, takeoverMs: itsMs }) => {
        const spanMs = Math.max(takeoverMs, itsMs);
        const last = seen.get(id);
        const isStill = last?.heartbeat === heartbeat && blindMs <= spanMs * BLIND_SHARE;
        // Counted from the answer of one look to the sending of another: a slow answer ages nobody.
        if (!isStill) seen.set(id, { heartbeat, sinceMs: answeredMs });
        return isStill && sentMs - last.sinceMs >= spanMs * DEAD_SHARE;
      });
    },
  };
}
