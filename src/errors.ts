/**
 * The base of every error that Errand throws on purpose: a stable `code`, a sentence that says what
 * was expected, what came and what to do, and the cause. Anything else that is thrown is a bug.
 */
export class ErrandError extends Error {
  readonly code: string;

  constructor(code: string, message: string, options?: { cause?: unknown }) {
    super(message, options);
    this.name = new.target.name;
    this.code = code;
  }
}
