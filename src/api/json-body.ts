import type { MiddlewareHandler } from 'hono';
import { LIMIT } from '../protocol/limits.ts';
import { ProblemError } from './problem.ts';
import type { ApiEnv } from './router.ts';

const JSON_TYPE = /^application\/([\w.-]+\+)?json\s*(;|$)/i;

/**
 * Reads a JSON body of at most `maxBytes` before the validators see it: every route with a body names
 * it as its middleware. What is larger is refused as soon as that is known, not after reading it all.
 */
export function jsonBody(maxBytes: number = LIMIT.requestBytes): MiddlewareHandler<ApiEnv> {
  return async (c, next) => {
    const bytes = await readBody(c.req.raw, maxBytes);
    const type = c.req.header('content-type');
    if (type === undefined ? bytes.length > 0 : !JSON_TYPE.test(type)) throw notJson(type);
    Object.assign(c.req.bodyCache, { text: Promise.resolve(decode(bytes)) });
    await next();
  };
}

/** HTTP holds a body to its Content-Length; without one (chunked) it has to be counted. */
async function readBody(request: Request, maxBytes: number): Promise<Uint8Array> {
  const declared = request.headers.get('content-length');
  if (declared === null) return readAtMost(request, maxBytes);
  if (Number(declared) > maxBytes) throw tooLarge(maxBytes);
  return new Uint8Array(await request.arrayBuffer());
}

async function readAtMost(request: Request, maxBytes: number): Promise<Buffer> {
  const chunks: Uint8Array[] = [];
  let length = 0;
  for await (const chunk of request.body ?? []) {
    length += chunk.length;
    if (length > maxBytes) throw tooLarge(maxBytes);
    chunks.push(chunk);
  }
  return Buffer.concat(chunks, length);
}

/** Bytes that are no UTF-8 would otherwise be stored as something else than what was sent. */
function decode(bytes: Uint8Array): string {
  try {
    return new TextDecoder('utf-8', { fatal: true }).decode(bytes);
  } catch {
    throw new ProblemError('invalid-json', 'The body must be UTF-8 (RFC 8259, section 8.1)');
  }
}

/** Most of the body is still to come, so the connection cannot be used again. */
function tooLarge(maxBytes: number): ProblemError {
  return new ProblemError(
    'body-too-large',
    `The body may have at most ${maxBytes} bytes; send less, or in several requests`,
    {},
    { connection: 'close' },
  );
}

function notJson(type: string | undefined): ProblemError {
  return new ProblemError(
    'unsupported-media-type',
    `The body must be sent with Content-Type: application/json, got ${type ?? 'none'}`,
  );
}
