import type { Responded } from '../../src/policy/answer.ts';

export const encode = (text: string) => new TextEncoder().encode(text);

/** A whole answer without Errand's headers, but for what `rest` says. */
export function respond(status: number, body = '', rest: Partial<Responded> = {}): Responded {
  return {
    outcome: 'responded',
    status,
    outcomeHeader: null,
    progressHeader: null,
    retryAfter: null,
    contentType: null,
    fileName: null,
    body: encode(body),
    isTruncated: false,
    bodyError: null,
    ...rest,
  };
}
