/** What has to be undone at the end, in the reverse order of how it was done. */
export interface Cleanups {
  defer(undo: () => unknown): void;
  /** Runs all of them, also when one fails; throws the first failure. Safe to call twice. */
  run(): Promise<void>;
}

/** As AsyncDisposableStack, which Node 22 does not have yet. */
export function createCleanups(): Cleanups {
  const undos: (() => unknown)[] = [];
  return {
    defer(undo) {
      undos.push(undo);
    },
    async run() {
      const failures: unknown[] = [];
      for (let undo = undos.pop(); undo !== undefined; undo = undos.pop()) {
        try {
          await undo();
        } catch (error) {
          failures.push(error);
        }
      }
      if (failures.length > 0) throw failures[0];
    },
  };
}
