import { createHash, timingSafeEqual } from 'node:crypto';
import { createRemoteJWKSet, jwtVerify } from 'jose';

const issuer = process.env.ERRAND_ISSUER!; // https://errand.example, /p/<project> after it for any but `default`
const worker = process.env.ERRAND_WORKER_URL!; // https://app.example: your own origin, never the Host header
const keys = createRemoteJWKSet(new URL(`${issuer}/.well-known/jwks.json`), {
  cacheMaxAge: 300_000,
});

/** `token`: Errand-Authorization without its "Bearer "; `path` with its query; `body` as it came. Throws. */
export async function verify(token: string, method: string, path: string, body: Uint8Array) {
  const algorithms = ['ES256', 'EdDSA', 'RS256'];
  const requiredClaims = ['exp', 'iat', 'jti', 'sub', 'htm', 'url', 'body_sha256'];
  const expected = { algorithms, requiredClaims, typ: 'JWT', issuer, audience: worker };
  const options = { ...expected, maxTokenAge: 300, clockTolerance: 60 };
  const { payload: claims } = await jwtVerify(token, keys, options);
  const bodyHash = createHash('sha256').update(body).digest();
  const isBody = timingSafeEqual(bodyHash, Buffer.from(String(claims.body_sha256), 'base64url'));
  const isRequest = claims.htm === method && claims.url === worker + path;
  if (!isBody || !isRequest) throw new Error('The token was made for another request');
  return claims;
}
