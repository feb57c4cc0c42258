import { createHash } from 'node:crypto';
import { importJWK, type JWK, SignJWT } from 'jose';
import { TOKEN_TTL_SECONDS, type TokenClaims, tokenSubject } from '../protocol/token.ts';

/** The key that a project's tokens are signed with. */
export interface SigningKey {
  kid: string;
  algorithm: string;
  privateJwk: Record<string, unknown>;
}

export interface Signer {
  /** Makes the token of one attempt. */
  sign(attempt: AttemptClaims): Promise<string>;
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
export async function createSigner(key: SigningKey): Promise<Signer> {
  const privateKey = await importJWK(key.privateJwk as JWK, key.algorithm);
  const header = { alg: key.algorithm, typ: 'JWT', kid: key.kid };
  return {
    sign(attempt) {
      const claims: TokenClaims = {
        iss: attempt.issuer,
        aud: attempt.audience,
        sub: tokenSubject(attempt.queue, attempt.taskId),
        jti: attempt.leaseId,
        iat: attempt.issuedAt,
        exp: attempt.issuedAt + TOKEN_TTL_SECONDS,
        htm: attempt.method,
        url: attempt.url,
        body_sha256: createHash('sha256').update(attempt.body).digest('base64url'),
      };
      return new SignJWT({ ...claims }).setProtectedHeader(header).sign(privateKey);
    },
  };
}
