/**
 * The attempt token: who signs what, so that a worker can prove that a request is ours, is for this
 * URL and method, and carries exactly this body.
 */

/** Claims of the token in `Errand-Authorization`. Times are Unix seconds. */
export interface TokenClaims {
  iss: string;
  aud: string;
  /** `queues/{queue}/tasks/{id}` */
  sub: string;
  /** The lease id: one attempt, never reused. */
  jti: string;
  iat: number;
  exp: number;
  /** The HTTP method. */
  htm: string;
  /** The target in WHATWG form, without fragment. */
  url: string;
  /** base64url, unpadded, of the SHA-256 of the raw body. */
  body_sha256: string;
}

export const TOKEN_TTL_SECONDS = 300;
/** How long anyone may cache a JWKS: a new key is published for longer before it signs. */
export const JWKS_MAX_AGE_SECONDS = 300;
export const TOKEN_ALGORITHMS = ['ES256', 'EdDSA', 'RS256'] as const;
export type TokenAlgorithm = (typeof TOKEN_ALGORITHMS)[number];

/** The URL as the token names it: WHATWG serialisation without the fragment. Throws on a bad URL. */
export function tokenUrl(url: string | URL): string {
  const parsed = new URL(url);
  parsed.hash = '';
  return parsed.href;
}

/** `sub` of a task's tokens. */
export function tokenSubject(queue: string, taskId: string): string {
  return `queues/${queue}/tasks/${taskId}`;
}

/** The issuer of a project: the public URL, with `/p/{project}` for any but `default`. */
export function projectIssuer(publicUrl: string, project: string): string {
  const base = publicUrl.replace(/\/+$/, '');
  return project === 'default' ? base : `${base}/p/${project}`;
}
