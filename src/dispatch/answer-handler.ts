import type { Answer } from '../policy/settlement.ts';
import { HEADER } from '../protocol/headers.ts';
import { LIMIT } from '../protocol/limits.ts';
import { TargetBlocked } from './guard.ts';

/** What undici calls while an answer comes in, as far as we need it (its DispatchHandler). */
export interface AnswerHandler {
  onRequestStart(controller: Controller): void;
  onResponseStart(controller: unknown, status: number, headers: Headers): void;
  onResponseData(controller: unknown, chunk: Buffer): void;
  onResponseEnd(controller: unknown): void;
  onResponseError(controller: unknown, error: Error): void;
}

interface Controller {
  abort(reason: Error): void;
}

/** Most answers have no body. */
const NOTHING: Buffer = Buffer.alloc(0);

type Headers = Record<string, string | string[] | undefined>;

/**
 * Reads one answer: `resolve` is called once, with null when `mayBegin`, asked when the connection is
 * there and nothing was sent yet, says no; else with what had come in when the answer was whole, when
 * its size limit or the deadline was reached, or when the connection failed. Whatever comes after that
 * is cut off. Once a status line is there it decides, even if the body then fails.
 */
export function createAnswerHandler(
  { deadlineMs, mayBegin = () => true }: { deadlineMs: number; mayBegin?: () => boolean },
  resolve: (answer: Answer | null) => void,
): AnswerHandler {
  let controller: Controller | null = null;
  let status = 0;
  let headers: Headers = {};
  let limit: number = LIMIT.outputBytes;
  let bytes = 0;
  let kept = NOTHING;
  let isDone = false;
  const timer = setTimeout(passDeadline, Math.max(0, deadlineMs));

  function passDeadline(): void {
    const passed = `no complete answer within ${deadlineMs / 1000} s`;
    if (status === 0) finish({ outcome: 'timed_out', error: passed });
    else finish(responded(passed));
  }

  function responded(bodyError: string | null): Answer {
    return {
      outcome: 'responded',
      status,
      outcomeHeader: header(HEADER.outcome),
      progressHeader: header(HEADER.progress),
      retryAfter: header('retry-after'),
      contentType: header('content-type'),
      fileName: fileName(header('content-disposition')),
      body: bytes === 0 ? NOTHING : kept.subarray(0, Math.min(bytes, limit)),
      isTruncated: bytes > limit,
      bodyError,
    };
  }

  /** Copied, for a kept chunk holds all that was read with it: bodies in tiny chunks took 100 × their size. */
  function keep(chunk: Buffer): void {
    const needed = Math.min(limit, bytes + chunk.length);
    if (needed > kept.length) {
      const grown = Buffer.allocUnsafeSlow(Math.min(limit, Math.max(needed, kept.length * 2)));
      kept.copy(grown, 0, 0, bytes);
      kept = grown;
    }
    chunk.copy(kept, bytes);
    bytes += chunk.length;
  }

  function header(name: string): string | null {
    const value = headers[name];
    return (Array.isArray(value) ? value[0] : value) ?? null;
  }

  function finish(answer: Answer | null, isWhole = false): void {
    if (isDone) return;
    isDone = true;
    clearTimeout(timer);
    if (!isWhole) controller?.abort(new Error('The call is over'));
    resolve(answer);
  }

  return {
    onRequestStart(started) {
      controller = started;
      if (isDone) started.abort(new Error('The deadline passed before the call could begin'));
      else if (!mayBegin()) finish(null);
    },
    onResponseStart(_, code, received) {
      // 103 Early Hints and its kind come before the answer.
      if (code < 200) return;
      status = code;
      headers = received;
      if (header(HEADER.outcome)?.trim() === 'continue') limit = LIMIT.continuationBytes;
    },
    onResponseData(_, chunk) {
      if (isDone) return;
      keep(chunk);
      if (bytes > limit) finish(responded(null));
    },
    onResponseEnd() {
      finish(responded(null), true);
    },
    onResponseError(_, error) {
      finish(status === 0 ? unanswered(error) : responded(error.message));
    },
  };
}

function unanswered(error: Error): Answer {
  const cause = error.cause instanceof TargetBlocked ? error.cause : error;
  if (cause instanceof TargetBlocked) return { outcome: 'blocked', error: cause.message };
  const code = (error as { code?: string }).code;
  return { outcome: 'unreachable', error: [code, error.message].filter(Boolean).join(': ') };
}

/** The plain form of RFC 6266's `filename`: a label, never a path. */
function fileName(disposition: string | null): string | null {
  const match = disposition?.match(/filename="?([^";]+)"?/i);
  return match ? match[1]!.replace(/^.*[/\\]/, '').slice(0, 255) : null;
}
