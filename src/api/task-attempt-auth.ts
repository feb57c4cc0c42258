import type { MiddlewareHandler } from 'hono';
import { compactVerify, decodeJwt, importJWK, type JWTPayload } from 'jose';
import { HEADER } from '../protocol/headers.ts';
import { PROJECT_NAME_PATTERN } from '../protocol/limits.ts';
import { projectIssuer } from '../protocol/token.ts';
import { publicKeys } from '../store/signing-key.ts';
import { type Access, authorize } from './access.ts';
import { authenticate } from './auth.ts';
import type { RouteParts } from './parts.ts';
import { ProblemError } from './problem.ts';
import type { ApiEnv } from './router.ts';
import { createTtlCache } from './ttl-cache.ts';

/** A signing key that was revoked is refused this much later at the latest. */
const KEYS = { ttlMs: 1_000, maxEntries: 1_000 };
const UUID = /^[0-9a-f]{8}(-?[0-9a-f]{4}){4}[0-9a-f]{8}$/;
const JWT = /^eyJ[\w-]*\.[\w-]+\.[\w-]+$/;

/**
 * Lets in an attempt by its own token (in `Errand-Authorization`, or in `Authorization` as it was
 * sent), and whoever has an API key. Of the token only the signature and the issuer are judged, not its
 * age: whether its lease is still live is what counts, and that the handler finds out from the store.
 */
export function authenticateAttempt(parts: RouteParts, access: Access): MiddlewareHandler<ApiEnv> {
  const byApiKey = authenticate(parts, parts.keys);
  const mayDoSo = authorize(access, parts.database);
  const keys = createTtlCache(KEYS, (project) =>
    parts.database.run((sql) => publicKeys(sql, project)),
  );

  async function verify(token: string): Promise<{ project: string; leaseId: string }> {
    const project = projectOf(parts.publicUrl, claimsOf(token).iss);
    const known = project === null ? null : await keys.get(project);
    try {
      const { payload } = await compactVerify(token, async ({ kid, alg, typ }) => {
        const key = known?.find((each) => each.kid === kid && each.algorithm === alg);
        if (key === undefined || typ !== 'JWT') throw refused();
        return importJWK(key.publicJwk, key.algorithm);
      });
      const { jti } = JSON.parse(new TextDecoder().decode(payload)) as JWTPayload;
      if (project === null || jti === undefined || !UUID.test(jti)) throw refused();
      return { project, leaseId: jti };
    } catch {
      throw refused(); // Why a token fails is nothing to tell its bearer.
    }
  }

  return async (c, next) => {
    const token = tokenIn(c.req.header(HEADER.authorization), c.req.header('authorization'));
    if (token === null) return byApiKey(c, async () => void (await mayDoSo(c, next)));
    const { project, leaseId } = await verify(token);
    c.set('project', project);
    c.set('leaseId', leaseId);
    return next();
  };
}

function tokenIn(own: string | undefined, usual: string | undefined): string | null {
  const bearer = (header: string) => header.replace(/^bearer +/i, '').trim();
  if (own !== undefined) return bearer(own);
  const credentials = bearer(usual ?? '');
  return JWT.test(credentials) ? credentials : null;
}

function claimsOf(token: string): JWTPayload {
  try {
    return decodeJwt(token);
  } catch {
    throw refused(); // No token at all.
  }
}

function projectOf(publicUrl: string, issuer: string | undefined): string | null {
  const base = projectIssuer(publicUrl, 'default');
  if (issuer === base) return 'default';
  if (!issuer?.startsWith(`${base}/p/`)) return null;
  const project = issuer.slice(base.length + 3);
  return PROJECT_NAME_PATTERN.test(project) && project !== 'default' ? project : null;
}

function refused(): ProblemError {
  return new ProblemError(
    'unauthenticated',
    "The token is not one of this service's attempts; send it as it came, or an API key",
    {},
    { 'www-authenticate': 'Bearer realm="errand"' },
  );
}
