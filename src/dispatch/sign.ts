import { createPrivateKey, hash, type JsonWebKey } from 'node:crypto';
import type { WebhookSecretRecord } from '../model.ts';
import { TOKEN_TTL_SECONDS, type TokenClaims, tokenSubject } from '../protocol/token.ts';
import { signingKeyContext } from '../store/signing-key.ts';
import { createVault, type Vault } from '../store/vault.ts';
import { webhookSecretContext } from '../store/webhook-secret.ts';
import type { SigningThread } from './signing-thread.ts';
import { type WebhookMessage, webhookHeaders, webhookSecretBytes } from './webhook.ts';

/** The key that a project's tokens are signed with. */
export interface SigningKey {
  kid: string;
  algorithm: string;
  /** As `Vault.seal` gave it. */
  privateJwk: Record<string, unknown>;
}

export interface Signer {
  /** Makes the token of one attempt. */
  sign(attempt: AttemptClaims): Promise<string>;
  /** The headers by which a Standard Webhooks library verifies an attempt. */
  signWebhook(
    secrets: readonly WebhookSecretRecord[],
    message: WebhookMessage,
  ): Record<string, string>;
}

export interface AttemptClaims {
  issuer: string;
  audience: string;
  queue: string;
  taskId: string;
  leaseId: string;
  method: string;
  /** WHATWG form, without fragment. */
  url: string;
  body: Uint8Array;
  /** Seconds since the epoch, by the database's clock. */
  issuedAt: number;
}

/** Binds a token to the task, the attempt, and the exact request it travels with. */
export function createSigner(
  key: SigningKey,
  thread: Pick<SigningThread, 'sign'>,
  vault: Vault = createVault([]),
): Signer {
  const { kid, algorithm } = key;
  const jwk = vault.open(key.privateJwk, signingKeyContext(kid)) as JsonWebKey;
  const privateKey = createPrivateKey({ key: jwk, format: 'jwk' });
  // A queue's record, and with it its secrets, stays the same until the queue changes.
  const opened = new WeakMap<WebhookSecretRecord, Uint8Array>();

  function open(stored: WebhookSecretRecord): Uint8Array {
    const known = opened.get(stored);
    if (known !== undefined) return known;
    const secret = vault.open(stored.secret as string, webhookSecretContext(stored.id));
    const bytes = webhookSecretBytes(secret);
    opened.set(stored, bytes);
    return bytes;
  }

  const header = encode({ alg: algorithm, typ: 'JWT', kid });
  return {
    sign(attempt) {
      const input = `${header}.${encode(claimsOf(attempt))}`;
      return thread.sign(input, algorithm, privateKey).then((signature) => `${input}.${signature}`);
    },
    signWebhook: (secrets, message) => webhookHeaders(secrets.map(open), message),
  };
}

function claimsOf(attempt: AttemptClaims): TokenClaims {
  return {
    iss: attempt.issuer,
    aud: attempt.audience,
    sub: tokenSubject(attempt.queue, attempt.taskId),
    jti: attempt.leaseId,
    iat: attempt.issuedAt,
    exp: attempt.issuedAt + TOKEN_TTL_SECONDS,
    htm: attempt.method,
    url: attempt.url,
    body_sha256: hash('sha256', attempt.body, 'base64url'),
  };
}

function encode(value: object): string {
  return Buffer.from(JSON.stringify(value)).toString('base64url');
}
