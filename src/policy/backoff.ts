import type { RetryPolicy } from '../model.ts';

/**
 * Seconds to wait after attempt number `attempt` failed: it starts at `minBackoffSeconds`, doubles
 * `maxDoublings` times, then grows linearly by the last step, and never exceeds `maxBackoffSeconds`.
 * There is no jitter: this is the curve that users compute.
 *
 * Edge values: `attempt` below 1 counts as 1; a minimum of 0 retries at once for ever; a minimum
 * above the maximum gives the maximum; 0 doublings grows linearly from the first retry; an attempt or
 * doublings too large for a float gives the maximum.
 *
 * Source: Cloud Tasks, `RetryConfig` (min_backoff, max_backoff, max_doublings).
 *
 * @example
 * ```ts
 * const retry = { ...DEFAULT_QUEUE_SETTINGS.retry, minBackoffSeconds: 10, maxBackoffSeconds: 300, maxDoublings: 3 };
 * [1, 2, 3, 4, 5, 6, 7, 8].map((attempt) => backoffSeconds(retry, attempt));
 * // 10, 20, 40, 80, 160, 240, 300, 300
 * ```
 */
export function backoffSeconds(retry: RetryPolicy, attempt: number): number {
  // Without this, 0 × 2^1024 is NaN.
  if (retry.minBackoffSeconds <= 0) return 0;
  const retryNumber = Math.max(1, attempt);
  const doublings = Math.min(retryNumber - 1, retry.maxDoublings);
  const delaySeconds = retry.minBackoffSeconds * 2 ** doublings * (retryNumber - doublings);
  return Math.min(delaySeconds, retry.maxBackoffSeconds);
}
