import { randomBytes } from 'node:crypto';

/** What every row does: this payload to the target, as many calls at once, under these claims. */
export const IN_FLIGHT = 64;
export const PAYLOAD = JSON.stringify({ user: 'x'.repeat(180) });
export const CONTENT_TYPE = 'application/json';
export const QUEUE = 'bench';

const ISSUER = 'http://127.0.0.1:8484';
const TOKEN_TTL_SECONDS = 300;

/** The claims of Errand's token, for a call of the same kind. */
export function claimsOf(url: URL, taskId: string, bodySha256: string) {
  const issuedAt = Math.floor(Date.now() / 1000);
  return {
    iss: ISSUER,
    aud: url.origin,
    sub: `queues/${QUEUE}/tasks/${taskId}`,
    jti: newId(),
    iat: issuedAt,
    exp: issuedAt + TOKEN_TTL_SECONDS,
    htm: 'POST',
    url: url.href,
    body_sha256: bodySha256,
  };
}

/** The headers of Errand's calls. */
export function headersOf(taskId: string, token: string): Record<string, string> {
  return {
    authorization: `Bearer ${token}`,
    'content-type': CONTENT_TYPE,
    'errand-authorization': `Bearer ${token}`,
    'errand-task-id': taskId,
    'errand-queue': QUEUE,
    'errand-attempt': '1',
    'errand-max-attempts': '100',
    'errand-schedule-time': new Date().toISOString(),
    'errand-step': '0',
    traceparent: `00-${taskId}-${newId().slice(0, 16)}-01`,
  };
}

let pool = Buffer.alloc(0);

/** 32 hex digits, as a task's id has. Bytes are drawn by the thousand: a draw costs as much as a call. */
export function newId(): string {
  if (pool.length < 16) pool = randomBytes(16 * 1024);
  const id = pool.toString('hex', 0, 16);
  pool = pool.subarray(16);
  return id;
}
