import type { Task } from '../protocol/resources.ts';
import { ErrandTimeoutError } from './errors.ts';
import { pause } from './pause.ts';

export interface WaitOptions {
  /** How long to wait in all, in ms. Default 60,000. */
  timeoutMs?: number;
  /** The delay before the second look, in ms; it grows by half each time. Default 50. */
  pollMs?: number;
  /** The longest delay between two looks, in ms. Default 1,000. */
  maxPollMs?: number;
}

const ENDED = new Set<string>(['succeeded', 'failed', 'cancelled']);
const GROWTH = 1.5;

/** Looks until the task has ended, however it ended. Throws an `ErrandTimeoutError`. */
export async function waitForTask(
  look: () => Promise<Task>,
  { timeoutMs = 60_000, pollMs = 50, maxPollMs = 1_000 }: WaitOptions = {},
): Promise<Task> {
  const deadline = performance.now() + timeoutMs;
  for (let delay = pollMs; ; delay = Math.min(delay * GROWTH, maxPollMs)) {
    const task = await look();
    if (ENDED.has(task.state)) return task;
    const left = deadline - performance.now();
    if (left <= 0) {
      throw new ErrandTimeoutError(
        `Task ${task.id} was to end within ${timeoutMs} ms, but is still ${task.state}`,
      );
    }
    await pause(Math.min(delay, left));
  }
}
