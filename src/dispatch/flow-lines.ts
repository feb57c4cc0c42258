import type { FlowKey } from './flow-key.ts';
import { createTimeline } from './timeline.ts';

/** The keys of a queue that have parked tasks: which of them may be called, and in what turn. */
export interface FlowLines {
  /** Tells how long the key has to wait: 0 = it may be called now, Infinity = it will be told again. */
  place(key: FlowKey, seconds: number, nowMs: number): void;
  /** Takes out the keys that have waited long enough: they are to be placed again. */
  takeDue(nowMs: number): string[];
  /** Takes the key whose turn it is out of those that may be called. */
  takeFirst(): string | undefined;
  /** Keys that may be called now. */
  callable(): number;
  /** Seconds until a waiting key is due; Infinity when none waits. */
  secondsUntilDue(nowMs: number): number;
}

export function createFlowLines(): FlowLines {
  // In the order of their turns.
  const callable = new Set<string>();
  const waiting = createTimeline<string>();

  return {
    place({ name }, seconds, nowMs) {
      if (seconds <= 0) {
        callable.add(name);
        return;
      }
      callable.delete(name);
      if (Number.isFinite(seconds)) waiting.add(name, nowMs + Math.ceil(seconds * 1000));
    },
    takeDue: waiting.takeDue,
    takeFirst() {
      const [first] = callable;
      if (first !== undefined) callable.delete(first);
      return first;
    },
    callable: () => callable.size,
    secondsUntilDue: (nowMs) => Math.max(0, (waiting.nextMs() - nowMs) / 1000),
  };
}
