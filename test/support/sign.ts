import { createHash } from 'node:crypto';
import type { IncomingMessage, Server, ServerResponse } from 'node:http';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import type { JSONWebKeySet, JWTPayload } from 'jose';
import { calculateJwkThumbprint, exportJWK, generateKeyPair, SignJWT } from 'jose';
import { HEADER } from '../../src/protocol/headers.ts';
import type { TokenAlgorithm } from '../../src/protocol/token.ts';
import { tokenSubject, tokenUrl } from '../../src/protocol/token.ts';

/** The public URL of the worker that the requests are for, unless a test says otherwise. */
export const WORKER_URL = 'https://worker.example';

/** One attempt to sign; what is left out is that of an ordinary first attempt. */
export interface AttemptToSign {
  /** Where it is dispatched, as the task names it. */
  url?: string;
  method?: string;
  body?: string | Uint8Array<ArrayBuffer>;
  /** Overrides of the request's headers; null leaves one out. */
  headers?: Record<string, string | null>;
  /** Overrides of the token's claims; undefined leaves one out. */
  claims?: JWTPayload;
  /** Overrides of the token's protected header. */
  protectedHeader?: Record<string, unknown>;
}

/** What a dispatcher would send. */
export interface SignedAttempt {
  url: string;
  method: string;
  headers: Record<string, string>;
  body: Uint8Array<ArrayBuffer>;
}

/** Signs as the service does: a key of its own, whose JWKS a local server publishes as the issuer. */
export interface Signer {
  issuer: string;
  jwks: JSONWebKeySet;
  /** How often the JWKS was fetched. */
  fetches(): number;
  sign(attempt?: AttemptToSign): Promise<SignedAttempt>;
  /** The same as a web Request, for handlers that are called without a socket. */
  request(attempt?: AttemptToSign): Promise<Request>;
  close(): Promise<void>;
}

export async function createSigner(algorithm: TokenAlgorithm = 'ES256'): Promise<Signer> {
  const { publicKey, privateKey } = await generateKeyPair(algorithm);
  const publicJwk = await exportJWK(publicKey);
  const kid = await calculateJwkThumbprint(publicJwk);
  const jwks = { keys: [{ ...publicJwk, kid, alg: algorithm, use: 'sig' }] };
  let fetches = 0;
  const server = await listen((request, response) => {
    const isJwks = request.url === '/.well-known/jwks.json';
    if (isJwks) fetches++;
    response.writeHead(isJwks ? 200 : 404, { 'content-type': 'application/json' });
    response.end(isJwks ? JSON.stringify(jwks) : '{}');
  });
  const issuer = serverUrl(server);

  async function sign(attempt: AttemptToSign = {}): Promise<SignedAttempt> {
    const parts = describeAttempt(attempt, issuer);
    const token = await new SignJWT(parts.claims)
      .setProtectedHeader({ alg: algorithm, typ: 'JWT', kid, ...attempt.protectedHeader })
      .sign(privateKey);
    return withToken(parts, token, attempt.headers);
  }

  return {
    issuer,
    jwks,
    fetches: () => fetches,
    sign,
    request: async (attempt) => toRequest(await sign(attempt)),
    close: () => close(server),
  };
}

/** Everything of an attempt but its signature, so that a test can sign it badly. */
export interface AttemptParts extends SignedAttempt {
  claims: JWTPayload;
}

export function describeAttempt(attempt: AttemptToSign, issuer: string): AttemptParts {
  const { url = `${WORKER_URL}/tasks/email`, method = 'POST' } = attempt;
  const body = bytes(attempt.body ?? '{"to":"a@example.com"}');
  const taskId = '0198c0de000070008000000000000001';
  const now = Math.floor(Date.now() / 1000);
  const claims = {
    iss: issuer,
    aud: new URL(url).origin,
    sub: tokenSubject('mail', taskId),
    jti: 'lease-1',
    iat: now,
    exp: now + 300,
    htm: method,
    url: tokenUrl(url),
    body_sha256: createHash('sha256').update(body).digest('base64url'),
    ...attempt.claims,
  };
  const headers = {
    'content-type': 'application/json',
    [HEADER.taskId]: taskId,
    [HEADER.taskName]: 'welcome-1',
    [HEADER.queue]: 'mail',
    [HEADER.attempt]: '1',
    [HEADER.maxAttempts]: '100',
    [HEADER.scheduleTime]: '2026-01-02T03:04:05.678Z',
    [HEADER.step]: '0',
  };
  return { url, method, headers, body, claims };
}

export function withToken(
  parts: AttemptParts,
  token: string,
  overrides: Record<string, string | null> = {},
): SignedAttempt {
  const { url, method, body } = parts;
  const headers: Record<string, string> = {
    ...parts.headers,
    [HEADER.authorization]: `Bearer ${token}`,
    authorization: `Bearer ${token}`,
  };
  for (const [name, value] of Object.entries(overrides)) {
    if (value === null) delete headers[name];
    else headers[name] = value;
  }
  return { url, method, headers, body };
}

export function toRequest(signed: SignedAttempt): Request {
  const { url, method, headers, body } = signed;
  const hasBody = method !== 'GET' && method !== 'HEAD';
  return new Request(url, { method, headers, body: hasBody ? body : null });
}

/** A server on a free port of the loopback. */
export async function listen(
  listener: (request: IncomingMessage, response: ServerResponse) => unknown,
): Promise<Server> {
  const server = createServer(listener);
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  return server;
}

export function serverUrl(server: Server): string {
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
}

export async function close(server: Server): Promise<void> {
  server.closeAllConnections();
  await new Promise((resolve) => server.close(resolve));
}

function bytes(body: string | Uint8Array<ArrayBuffer>): Uint8Array<ArrayBuffer> {
  return typeof body === 'string' ? new TextEncoder().encode(body) : body;
}
