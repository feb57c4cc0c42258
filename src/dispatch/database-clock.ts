/**
 * The database's time, as told by the heartbeats and carried on by the monotonic clock: what tokens,
 * schedules and windows are reckoned by. The process's wall clock decides nothing.
 */
export interface DatabaseClock {
  /** Takes over a reading that came back at `monotonicMs`. */
  set(databaseTime: Date, monotonicMs: number): void;
  /** Milliseconds since the epoch, by the database. */
  now(): number;
}

export function createDatabaseClock(monotonic: () => number): DatabaseClock {
  let offsetMs = 0;
  return {
    set(databaseTime, monotonicMs) {
      offsetMs = databaseTime.getTime() - monotonicMs;
    },
    now: () => offsetMs + monotonic(),
  };
}
