/** What every new connection of one database has to pass. */
export interface ConnectionGate {
  /** Resolves to true when one more connection may be tried, to false once it is not wanted any more. */
  pass(isWanted: () => boolean): Promise<boolean>;
  /** One was let in: two more may be tried at once. */
  open(): void;
  /** One was not let in: no more at once, for what comes in a crowd may be what keeps the database from answering. */
  shut(): void;
}

export interface ConnectionGateOptions {
  /** Connections that may be tried at once. */
  burst: number;
  /** From 0 to 1. Default `Math.random`. */
  random?: (() => number) | undefined;
  /** A monotonic clock, in milliseconds. */
  nowMs?: () => number;
}

interface Waiter {
  isWanted: () => boolean;
  resolve: (mayTry: boolean) => void;
}

/** One more may be tried after this, and up to half as much again: many processes that lost one database should not come back as one. */
const PAUSE_MS = 200;
/** So that a pool is whole soon, but a database that is only just back is not met by all at once. */
const OPENS = 2;

/**
 * A few connections at once, then five a second at most until one is let in. So the first attempt after a loss is
 * made at once, and a database that takes nobody in is asked at an even pace however many wait.
 */
export function createConnectionGate({
  burst,
  random = Math.random,
  nowMs = () => performance.now(),
}: ConnectionGateOptions): ConnectionGate {
  const waiting = new Set<Waiter>();
  let free = burst;
  let countedAtMs = nowMs();
  let timer: NodeJS.Timeout | undefined;

  function take(): boolean {
    const passedMs = nowMs() - countedAtMs;
    countedAtMs += passedMs;
    free = Math.min(burst, free + passedMs / PAUSE_MS);
    if (free < 1) return false;
    free -= 1;
    return true;
  }

  function letThrough(): void {
    let isFull = false;
    for (const waiter of waiting) {
      const isWanted = waiter.isWanted();
      isFull ||= isWanted && !take();
      if (isWanted && isFull) continue;
      waiting.delete(waiter);
      waiter.resolve(isWanted);
    }
    if (waiting.size === 0 || timer !== undefined) return;
    timer = setTimeout(
      () => {
        timer = undefined;
        letThrough();
      },
      (1 - free + random() / 2) * PAUSE_MS,
    );
  }

  return {
    pass: (isWanted) =>
      new Promise((resolve) => {
        waiting.add({ isWanted, resolve });
        letThrough();
      }),
    open() {
      free = Math.min(burst, Math.max(0, free) + OPENS);
      letThrough();
    },
    shut() {
      free = Math.min(free, 0);
    },
  };
}
