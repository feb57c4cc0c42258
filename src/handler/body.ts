import { base64url } from 'jose';
import { VerificationError } from './errors.ts';

/** Reads the raw body, and stops as soon as it passes `maxBytes`, whatever Content-Length says. */
export async function readBody(request: Request, maxBytes: number): Promise<Uint8Array> {
  if (request.bodyUsed) {
    throw new VerificationError(
      'body-consumed',
      "The body was already read, so its hash can't be checked; pass the request on before anything parses it",
    );
  }
  if (Number(request.headers.get('content-length') ?? 0) > maxBytes) throw tooLarge(maxBytes);
  if (request.body === null) return new Uint8Array(0);
  return concatenate(await readChunks(request.body, maxBytes));
}

/** True when `hash` is the unpadded base64url of the SHA-256 of `body`. */
export async function hasHash(body: Uint8Array, hash: string): Promise<boolean> {
  const digest = await crypto.subtle.digest('SHA-256', body as Uint8Array<ArrayBuffer>);
  return isEqualInConstantTime(base64url.encode(new Uint8Array(digest)), hash);
}

async function readChunks(
  body: ReadableStream<Uint8Array>,
  maxBytes: number,
): Promise<Uint8Array[]> {
  const chunks: Uint8Array[] = [];
  const reader = body.getReader();
  let total = 0;
  for (let read = await reader.read(); !read.done; read = await reader.read()) {
    total += read.value.byteLength;
    if (total > maxBytes) {
      await reader.cancel();
      throw tooLarge(maxBytes);
    }
    chunks.push(read.value);
  }
  return chunks;
}

function concatenate(chunks: Uint8Array[]): Uint8Array {
  const whole = new Uint8Array(chunks.reduce((total, chunk) => total + chunk.byteLength, 0));
  let offset = 0;
  for (const chunk of chunks) {
    whole.set(chunk, offset);
    offset += chunk.byteLength;
  }
  return whole;
}

function tooLarge(maxBytes: number): VerificationError {
  return new VerificationError(
    'body-too-large',
    `The body is larger than the ${maxBytes} bytes of maxBodyBytes`,
  );
}

/** The web platform has no timingSafeEqual; the length of a hash is no secret. */
function isEqualInConstantTime(a: string, b: string): boolean {
  if (a.length !== b.length) return false;
  let difference = 0;
  for (let i = 0; i < a.length; i++) difference |= a.charCodeAt(i) ^ b.charCodeAt(i);
  return difference === 0;
}
