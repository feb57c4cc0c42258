/**
 * The base of every error that the handler kit throws on purpose: a stable `code`, and a sentence
 * that says what was expected, what came and what to do.
 */
export class HandlerError extends Error {
  readonly code: string;

  constructor(code: string, message: string, options?: { cause?: unknown }) {
    super(message, options);
    this.name = new.target.name;
    this.code = code;
  }
}

/**
 * Throw it from a task to end the task as failed at once: no retry can help, an operator must look.
 * The message is kept with the task as its reason, whatever `exposeErrors` says.
 *
 * @example
 * if (customer === null) throw new FatalTaskError(`There is no customer ${input.customerId}`);
 */
export class FatalTaskError extends HandlerError {
  constructor(message: string, options?: { cause?: unknown }) {
    super('task-fatal', message, options);
  }
}

/**
 * Throw it from a task to be tried again not sooner than `seconds` from now (a finite number ≥ 0,
 * rounded up), for example when a rate limit of somebody else's API says when. It counts as an
 * attempt, and the service bounds the delay.
 */
export class RetryLaterError extends HandlerError {
  readonly seconds: number;

  constructor(seconds: number, message?: string, options?: { cause?: unknown }) {
    if (!Number.isFinite(seconds) || seconds < 0) {
      throw new RangeError(`seconds must be a finite number of at least 0, got ${seconds}`);
    }
    super('retry-later', message ?? `Try again in ${Math.ceil(seconds)} s`, options);
    this.seconds = Math.ceil(seconds);
  }
}

/** The worker was set up wrongly. Thrown while it is being built, never while it serves. */
export class ConfigurationError extends HandlerError {
  constructor(message: string) {
    super('configuration-invalid', message);
  }
}

/** Why a request was refused, with the status that answers it. */
const VERIFICATION_STATUS = {
  'token-missing': 401,
  'token-malformed': 401,
  'token-expired': 401,
  'algorithm-refused': 401,
  'key-unknown': 401,
  'signature-invalid': 401,
  'claim-invalid': 401,
  'method-mismatch': 401,
  'url-mismatch': 401,
  'body-mismatch': 401,
  'task-mismatch': 401,
  'header-invalid': 401,
  'body-too-large': 413,
  'body-consumed': 500,
  'keys-unavailable': 503,
} as const;

export type VerificationCode = keyof typeof VERIFICATION_STATUS;

/**
 * The request could not be shown to be an attempt that Errand dispatched to this worker. `status` is
 * the answer it deserves: 401, or 413, 500 and 503 where the sender is not at fault.
 */
export class VerificationError extends HandlerError {
  declare readonly code: VerificationCode;
  readonly status: number;

  constructor(code: VerificationCode, message: string, options?: { cause?: unknown }) {
    super(code, message, options);
    this.status = VERIFICATION_STATUS[code];
  }
}
