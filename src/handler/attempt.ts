import { errorAnswer } from './answer.ts';
import type { Settings } from './settings.ts';
import type { TaskRequest } from './verify.ts';
import { verifyRequest } from './verify.ts';

/** What a task is given beside its input. */
export interface TaskContext extends TaskRequest {
  /** Aborted when the service hangs up, which it does at the dispatch deadline: the attempt is lost. */
  signal: AbortSignal;
  /**
   * Tells how far the task is, in percent, with its answer. Rounded down, and bounded to 0 … 100.
   * Throws a `TypeError` for what is not a number.
   */
  progress(percent: number): void;
}

/** An attempt being worked on; `progress` is what the task told last. */
export interface RunningAttempt {
  context: TaskContext;
  progress: number | null;
}

/**
 * The one way of every attempt: verify, run, answer. It never rejects, so that no framework's own
 * error page is mistaken for the task's answer.
 */
export async function answerAttempt(
  request: Request,
  settings: Settings,
  run: (attempt: RunningAttempt) => Promise<Response>,
): Promise<Response> {
  let task: TaskRequest | null = null;
  try {
    task = await verifyRequest(request, settings);
    return await run(startAttempt(task, request.signal));
  } catch (error) {
    await report(error, task, settings);
    return errorAnswer(error, settings.exposeErrors);
  }
}

function startAttempt(task: TaskRequest, signal: AbortSignal): RunningAttempt {
  const progress = (percent: number): void => {
    if (typeof percent !== 'number' || Number.isNaN(percent)) {
      throw new TypeError(`progress must be a number from 0 to 100, got ${percent}`);
    }
    attempt.progress = Math.floor(Math.min(100, Math.max(0, percent)));
  };
  const attempt: RunningAttempt = { context: { ...task, signal, progress }, progress: null };
  return attempt;
}

async function report(error: unknown, task: TaskRequest | null, settings: Settings): Promise<void> {
  try {
    await settings.onError(error, task);
  } catch {
    // A logger that fails must not change what becomes of the task.
  }
}
