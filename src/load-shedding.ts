/**
 * Says no while there is still room to say it. What is let in is answered; what would only wait, until
 * its client has given up and asks again, is refused at once with 503 and Retry-After. Nothing else of
 * the process passes here: dispatching and settling have connections of their own, and go on.
 */
import { totalmem } from 'node:os';
import { PROBLEM, type Problem } from './protocol/problem.ts';

export interface LoadLimits {
  /** Requests in flight at most. Each of them that waits for the database counts. */
  requests: number;
  /** Bytes of request bodies in flight at most, as their Content-Length declares them. */
  bodyBytes: number;
  /** The event loop is overloaded when two looks in a row come later than this. */
  loopDelayMs: number;
  /** The database is overloaded when for a second no request succeeded in less than this. */
  answerMs: number;
  /** Slow answers alone are no overload below so many requests in flight. */
  slowRequests: number;
}

export interface LoadShedder {
  /**
   * Answers a request, or refuses it when that would overload the process.
   * `contentLength`: as the header says; null when the body's length is not known.
   */
  admit(contentLength: number | null, answer: Answer): Response | Promise<Response>;
  close(): void;
}

type Answer = () => Response | Promise<Response>;

const MiB = 1024 * 1024;
/** What is longer is refused by its route. Without a length a body may have so many, too. */
const LONGEST_BODY = 8 * MiB;
/** Two of the longest bodies, and no more than a big machine can parse at once. */
const HELD_BYTES = { min: 2 * LONGEST_BODY, max: 256 * MiB };

const LOOK_MS = 250;
const LOOKS_A_WINDOW = 4;
const RETRY_AFTER_SECONDS = 1;

/**
 * A body costs about five times its size while it is parsed and stored, so bodies may have a sixteenth
 * of the memory that the process may use (a container's limit, where there is one).
 */
export function defaultLoadLimits(
  memoryBytes: number = process.constrainedMemory() || totalmem(),
): LoadLimits {
  const share = Math.min(memoryBytes, totalmem()) / 16;
  return {
    requests: 2_000,
    bodyBytes: Math.min(HELD_BYTES.max, Math.max(HELD_BYTES.min, share)),
    loopDelayMs: 1_000,
    answerMs: 3_000,
    slowRequests: 64,
  };
}

/** `nowMs` is a monotonic clock. */
export function createLoadShedder(
  limits: LoadLimits = defaultLoadLimits(),
  nowMs: () => number = () => performance.now(),
): LoadShedder {
  let requests = 0;
  let bodyBytes = 0;
  const loop = watchLoop(limits.loopDelayMs, nowMs);
  const answers = watchAnswers(limits.answerMs);
  const timer = setInterval(() => {
    loop.look();
    answers.look(requests);
  }, LOOK_MS).unref();

  function overload(bytes: number): string | null {
    if (requests >= limits.requests) return `${requests} requests are in flight`;
    if (bodyBytes + bytes > limits.bodyBytes) return `bodies of ${bodyBytes} bytes are in flight`;
    if (loop.isLate()) return 'the process has more to do than it gets done';
    if (answers.areSlow() && requests >= limits.slowRequests) return 'the database is slow';
    return null;
  }

  return {
    async admit(contentLength, answer) {
      const bytes = Math.min(contentLength ?? LONGEST_BODY, LONGEST_BODY);
      const reason = overload(bytes);
      if (reason !== null) return refusal(reason, bytes);
      const startedMs = nowMs();
      requests += 1;
      bodyBytes += bytes;
      try {
        const response = await answer();
        if (response.ok) answers.note(nowMs() - startedMs);
        return response;
      } finally {
        requests -= 1;
        bodyBytes -= bytes;
      }
    },
    close: () => clearInterval(timer),
  };
}

/** One late look may be a process that was frozen for a while; two are one that is behind. */
function watchLoop(loopDelayMs: number, nowMs: () => number) {
  let lookedMs = nowMs();
  let late = 0;
  return {
    look() {
      const delayMs = nowMs() - lookedMs - LOOK_MS;
      late = delayMs > loopDelayMs ? late + 1 : 0;
      lookedMs = nowMs();
    },
    isLate: () => late >= 2,
  };
}

/**
 * The quickest of a second's answers tells how long everyone waits, whatever single requests take.
 * Source: CoDel (RFC 8289, section 3.1), whose measure is the least delay of an interval.
 */
function watchAnswers(answerMs: number) {
  let quickestMs = Number.POSITIVE_INFINITY;
  let looks = 0;
  let areSlow = false;
  return {
    note(durationMs: number) {
      quickestMs = Math.min(quickestMs, durationMs);
    },
    look(requests: number) {
      looks += 1;
      if (requests === 0) areSlow = false;
      if (looks < LOOKS_A_WINDOW) return;
      if (quickestMs < Number.POSITIVE_INFINITY) areSlow = quickestMs > answerMs;
      quickestMs = Number.POSITIVE_INFINITY;
      looks = 0;
    },
    areSlow: () => areSlow,
  };
}

function refusal(reason: string, bytes: number): Response {
  const { status, title } = PROBLEM.overloaded;
  const problem: Problem = {
    type: 'urn:errand:problem:overloaded',
    title,
    status,
    code: 'overloaded',
    detail: `Nothing was done, for ${reason}; repeat the request later`,
    retryAfterSeconds: RETRY_AFTER_SECONDS,
  };
  return new Response(JSON.stringify(problem), {
    status,
    headers: {
      'content-type': 'application/problem+json',
      'cache-control': 'no-store',
      'retry-after': String(RETRY_AFTER_SECONDS),
      // What is still to come of a long body is not worth reading.
      ...(bytes > MiB && { connection: 'close' }),
    },
  });
}
