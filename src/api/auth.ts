import { timingSafeEqual } from 'node:crypto';
import type { MiddlewareHandler } from 'hono';
import { DEFAULT_PROJECT } from '../model.ts';
import { HEADER } from '../protocol/headers.ts';
import { PROJECT_NAME_PATTERN } from '../protocol/limits.ts';
import { findApiKey } from '../store/api-key.ts';
import { projectExists } from '../store/project.ts';
import { apiKeyId, hashKey } from './api-key.ts';
import { received } from './input-errors.ts';
import type { ApiParts } from './parts.ts';
import { invalidRequest, ProblemError } from './problem.ts';
import type { ApiEnv } from './router.ts';
import { createTtlCache } from './ttl-cache.ts';

/** A revoked key is refused this much later at the latest. */
const KEY_TTL_MS = 5_000;
/** Of keys and projects alike: only those that exist are remembered, so guessing fills nothing. */
const MAX_REMEMBERED = 10_000;

/**
 * Demands a key and sets `project`: the key's own, or, with the admin key, the one that the
 * `Errand-Project` header names (`default` without it). Secrets are compared as SHA-256 hashes, in
 * constant time.
 */
export function authenticate(parts: ApiParts): MiddlewareHandler<ApiEnv> {
  const adminHash = hashKey(parts.adminKey);
  const { database } = parts;
  const limits = { ttlMs: KEY_TTL_MS, maxEntries: MAX_REMEMBERED };
  const keys = createTtlCache(limits, (id) => database.run((sql) => findApiKey(sql, id)));
  const projects = createTtlCache(limits, async (name) =>
    (await database.run((sql) => projectExists(sql, name))) ? true : null,
  );

  async function selectProject(name: string): Promise<string> {
    if (name === DEFAULT_PROJECT) return name;
    if (!PROJECT_NAME_PATTERN.test(name)) throw badProject(name);
    if (await projects.get(name)) return name;
    throw new ProblemError('not-found', `There is no project "${name}"`);
  }

  async function projectOfKey(key: string, asked: string | undefined): Promise<string> {
    const id = apiKeyId(key);
    const known = id === null ? null : await keys.get(id);
    if (known === null || !timingSafeEqual(hashKey(key), known.secretHash)) {
      throw unauthenticated('The API key is unknown or revoked');
    }
    if (asked === undefined || asked === known.project) return known.project;
    throw new ProblemError(
      'forbidden',
      `The API key belongs to project "${known.project}"; only the admin key may name another in ${HEADER.project}`,
    );
  }

  return async (c, next) => {
    const key = bearer(c.req.header('authorization'));
    const asked = c.req.header(HEADER.project);
    const isAdmin = timingSafeEqual(hashKey(key), adminHash);
    c.set(
      'project',
      isAdmin ? await selectProject(asked ?? DEFAULT_PROJECT) : await projectOfKey(key, asked),
    );
    await next();
  };
}

/** Source: RFC 6750, section 2.1. The scheme's case does not matter (RFC 9110, section 11.1). */
function bearer(header: string | undefined): string {
  if (header === undefined) throw unauthenticated('Send Authorization: Bearer <API key>');
  const key = /^bearer +(\S+) *$/i.exec(header)?.[1];
  if (key === undefined) throw unauthenticated('Authorization must be Bearer and one API key');
  return key;
}

function unauthenticated(detail: string): ProblemError {
  return new ProblemError(
    'unauthenticated',
    detail,
    {},
    { 'www-authenticate': 'Bearer realm="errand"' },
  );
}

function badProject(name: string): ProblemError {
  return invalidRequest([
    {
      pointer: `header ${HEADER.project}`,
      expected: '1 to 63 of a-z 0-9 -, not starting with -',
      received: received(name),
    },
  ]);
}
