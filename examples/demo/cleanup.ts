/** What is to be undone at the end; filled while things are being started. */
export interface Cleanup {
  add(undo: () => Promise<void>): void;
  /**
   * Undoes everything, one after the other, the last first. A second call while it goes on waits for
   * the same: a failure and an interruption may both ask, and a folder must not go before its user.
   */
  run(): Promise<void>;
}

export function createCleanup(): Cleanup {
  const undos: (() => Promise<void>)[] = [];
  let running: Promise<void> | null = null;

  async function undoAll(): Promise<void> {
    const errors: unknown[] = [];
    for (let undo = undos.pop(); undo !== undefined; undo = undos.pop()) {
      await undo().catch((error) => errors.push(error));
    }
    running = null;
    if (errors.length > 0) throw new AggregateError(errors, 'Not everything could be undone');
  }

  return {
    add: (undo) => void undos.push(undo),
    run: () => {
      running ??= undoAll();
      return running;
    },
  };
}
