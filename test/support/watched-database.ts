import { type Database, openDatabase } from '../../src/store/database.ts';

export interface WatchedDatabase extends Database {
  /** Statements begun so far. */
  begun(): number;
  /** Statements that the database answered so far, well or badly, though their answer may be held. */
  answered(): number;
  /** Statements whose answer was let through so far. */
  ended(): number;
  /** Holds back the answers of what is begun from now on, until the returned function is called. */
  holdAnswers(): () => void;
}

/** A real database that counts what is run, and whose answers can be made late. */
export function openWatchedDatabase(url: string, timeoutMs = 2_000): WatchedDatabase {
  const database = openDatabase({ url, connections: 4, name: 'watched', timeoutMs });
  let begun = 0;
  let answered = 0;
  let ended = 0;
  let held: Promise<void> = Promise.resolve();
  return {
    async run(verb, options) {
      begun += 1;
      const untilReleased = held;
      try {
        return await database.run(verb, options);
      } finally {
        answered += 1;
        await untilReleased;
        ended += 1;
      }
    },
    close: (graceMs) => database.close(graceMs),
    begun: () => begun,
    answered: () => answered,
    ended: () => ended,
    holdAnswers() {
      const gate = Promise.withResolvers<void>();
      held = gate.promise;
      return () => {
        if (held === gate.promise) held = Promise.resolve();
        gate.resolve();
      };
    },
  };
}
