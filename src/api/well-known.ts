import { createRoute, z } from '@hono/zod-openapi';
import { DEFAULT_PROJECT } from '../model.ts';
import { PROJECT_NAME_PATTERN } from '../protocol/limits.ts';
import { JWKS_MAX_AGE_SECONDS, projectIssuer, TOKEN_ALGORITHMS } from '../protocol/token.ts';
import { projectExists } from '../store/project.ts';
import { type PublicKey, publicKeys } from '../store/signing-key.ts';
import type { ApiParts } from './parts.ts';
import { ProblemError } from './problem.ts';
import { createRouter, type Router } from './router.ts';
import { problemResponses } from './schemas/problem.ts';
import { createTtlCache } from './ttl-cache.ts';

const CACHE_CONTROL = `public, max-age=${JWKS_MAX_AGE_SECONDS}`;
/** Strangers may ask: they must not be able to keep the database busy. */
const LIMITS = { ttlMs: 1_000, maxEntries: 1_000 };

const jwksSchema = z
  .object({ keys: z.array(z.looseObject({ kid: z.string(), alg: z.string(), use: z.string() })) })
  .openapi('Jwks', { description: 'A JWK set (RFC 7517).' });

const configurationSchema = z
  .object({
    issuer: z.string(),
    jwks_uri: z.string(),
    id_token_signing_alg_values_supported: z.array(z.string()),
    response_types_supported: z.array(z.string()),
    subject_types_supported: z.array(z.string()),
  })
  .openapi('OpenIdConfiguration', { description: 'OpenID Connect Discovery 1.0, section 3.' });

/** What tokens are verified by. Each project is an issuer of its own, the default one at the root. */
export function wellKnownRoutes({ database, publicUrl }: ApiParts): Router {
  const router = createRouter();
  const keysOf = createTtlCache(LIMITS, async (project) =>
    (await database.run((sql) => projectExists(sql, project)))
      ? database.run((sql) => publicKeys(sql, project))
      : null,
  );

  async function findKeys(project: string): Promise<PublicKey[]> {
    const keys = PROJECT_NAME_PATTERN.test(project) ? await keysOf.get(project) : null;
    if (keys === null) throw new ProblemError('not-found', `There is no project "${project}"`);
    return keys;
  }

  for (const prefix of ['', '/p/{project}'] as const) {
    router.openapi(jwksRoute(prefix), async (c) => {
      const keys = await findKeys(c.req.param('project') ?? DEFAULT_PROJECT);
      // An empty set is about to be filled, and must not be remembered by anyone.
      c.header('cache-control', keys.length > 0 ? CACHE_CONTROL : 'no-store');
      return c.json({ keys: keys.map(publicJwk) }, 200);
    });
    router.openapi(configurationRoute(prefix), async (c) => {
      const project = c.req.param('project') ?? DEFAULT_PROJECT;
      await findKeys(project);
      const issuer = projectIssuer(publicUrl, project);
      c.header('cache-control', CACHE_CONTROL);
      return c.json(
        {
          issuer,
          jwks_uri: `${issuer}/.well-known/jwks.json`,
          id_token_signing_alg_values_supported: [...TOKEN_ALGORITHMS],
          response_types_supported: ['id_token'],
          subject_types_supported: ['public'],
        },
        200,
      );
    });
  }
  return router;
}

function publicJwk({ kid, algorithm, publicJwk }: PublicKey) {
  return { ...publicJwk, kid, alg: algorithm, use: 'sig' };
}

function jwksRoute(prefix: '' | '/p/{project}') {
  return createRoute({
    method: 'get',
    path: `${prefix}/.well-known/jwks.json`,
    operationId: prefix === '' ? 'getJwks' : 'getProjectJwks',
    tags: ['Tokens'],
    summary: 'The public keys that attempts are signed with',
    security: [],
    request: projectRequest(prefix),
    responses: {
      200: {
        description:
          'The JWK set: the key in use, the one to come, and those that were in use within a day.',
        content: { 'application/json': { schema: jwksSchema } },
      },
      ...publicProblems(),
    },
  });
}

function configurationRoute(prefix: '' | '/p/{project}') {
  return createRoute({
    method: 'get',
    path: `${prefix}/.well-known/openid-configuration`,
    operationId: prefix === '' ? 'getOpenIdConfiguration' : 'getProjectOpenIdConfiguration',
    tags: ['Tokens'],
    summary: 'Where the issuer of the tokens has its keys',
    security: [],
    request: projectRequest(prefix),
    responses: {
      200: {
        description: 'Discovery metadata, for any OIDC or JWT middleware.',
        content: { 'application/json': { schema: configurationSchema } },
      },
      ...publicProblems(),
    },
  });
}

function projectRequest(prefix: '' | '/p/{project}') {
  if (prefix === '') return {};
  const project = z.string().openapi({ param: { name: 'project', in: 'path' }, example: 'acme' });
  return { params: z.object({ project }) };
}

/** No key is asked for here, so none can be missing. */
function publicProblems() {
  const { 404: missing, 503: away } = problemResponses('not-found');
  return { 404: missing, 503: away };
}
