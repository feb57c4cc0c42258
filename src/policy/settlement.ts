/**
 * The policy room holds the rules as pure functions: the clock and randomness are arguments, nothing
 * is read and nothing is written. This file is the one place that decides what follows from an
 * attempt; the store only writes what is decided here.
 */
import type { Decision, RetryPolicy } from '../model.ts';
import { type Answer, type Expectation, readAnswer } from './answer.ts';
import { backoffSeconds } from './backoff.ts';
import { boundText } from './error-text.ts';
import { retryAfterSeconds } from './retry-after.ts';

export { type Answer, describeAnswer } from './answer.ts';

/** A `Retry-After` raises the delay to at most this, or to the policy's maximum backoff if larger. */
export const RETRY_AFTER_MAX_SECONDS = 3600;

const UNLIMITED_ATTEMPTS = -1;

/** What is known of the attempt besides its answer. */
export interface SettlementContext extends Expectation {
  /** Number of the attempt that ended, from 1. */
  attempt: number;
  /** From the first attempt's start to this answer. */
  secondsSinceFirstAttempt: number;
  /** The queue's policy with the task's own over it; see `resolveRetry`. */
  retry: RetryPolicy;
  /** The clock that a `Retry-After` date is held against. */
  now: Date;
}

/**
 * Decides what follows from one attempt.
 *
 * A success status succeeds, with the body as output (cut at `LIMIT.outputBytes`), even when reading
 * the body broke off: the status line decides. `Errand-Outcome`, read on a success status only,
 * changes that: `failed` fails with the body as the reason, `continue` starts the next step when its
 * body is whole and valid. Everything else is a retry after the backoff, or after `Retry-After` where
 * that is later (bounded, see `RETRY_AFTER_MAX_SECONDS`), or a failure once retries are exhausted.
 *
 * Retries are exhausted when every limit that is set has been reached: `maxAttempts` unless it is −1,
 * and `maxRetryDurationSeconds` unless it is null or 0. With neither set they never are.
 * Source: Cloud Tasks, `RetryConfig` (max_attempts, max_retry_duration).
 *
 * @example
 * ```ts
 * decideSettlement({ outcome: 'timed_out', error: 'no answer within 600 s' }, context);
 * // { kind: 'retry', delaySeconds: 0.1 }
 * ```
 */
export function decideSettlement(answer: Answer, context: SettlementContext): Decision {
  const reading = readAnswer(answer, context);
  if (reading.kind !== 'unsuccessful') return reading;
  if (isExhausted(context)) {
    return { kind: 'fail', reason: exhaustedReason(context.attempt, reading.error), output: null };
  }
  const backoff = backoffSeconds(context.retry, context.attempt);
  return { kind: 'retry', delaySeconds: Math.max(backoff, requestedDelay(answer, context)) };
}

/**
 * The policy of one task: its own fields where it has them, else the queue's. A task's
 * `maxRetryDurationSeconds` of null lifts the queue's limit.
 */
export function resolveRetry(queue: RetryPolicy, task: Partial<RetryPolicy>): RetryPolicy {
  const { maxRetryDurationSeconds = queue.maxRetryDurationSeconds } = task;
  return {
    maxAttempts: task.maxAttempts ?? queue.maxAttempts,
    minBackoffSeconds: task.minBackoffSeconds ?? queue.minBackoffSeconds,
    maxBackoffSeconds: task.maxBackoffSeconds ?? queue.maxBackoffSeconds,
    maxDoublings: task.maxDoublings ?? queue.maxDoublings,
    maxRetryDurationSeconds,
  };
}

function isExhausted({ attempt, secondsSinceFirstAttempt, retry }: SettlementContext): boolean {
  const { maxAttempts, maxRetryDurationSeconds } = retry;
  const limitsReached: boolean[] = [];
  if (maxAttempts !== UNLIMITED_ATTEMPTS) limitsReached.push(attempt >= maxAttempts);
  // Cloud Tasks takes a duration of 0 for no limit as well.
  if (maxRetryDurationSeconds) {
    limitsReached.push(secondsSinceFirstAttempt >= maxRetryDurationSeconds);
  }
  return limitsReached.length > 0 && limitsReached.every(Boolean);
}

function exhaustedReason(attempt: number, error: string): string {
  return boundText(`gave up after ${attempt} ${attempt === 1 ? 'attempt' : 'attempts'}: ${error}`);
}

function requestedDelay(answer: Answer, { retry, now }: SettlementContext): number {
  if (answer.outcome !== 'responded') return 0;
  const bound = Math.max(RETRY_AFTER_MAX_SECONDS, retry.maxBackoffSeconds);
  return Math.min(retryAfterSeconds(answer.retryAfter, now), bound);
}
