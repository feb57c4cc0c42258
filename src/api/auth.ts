import { timingSafeEqual } from 'node:crypto';
import type { MiddlewareHandler } from 'hono';
import { DEFAULT_PROJECT } from '../model.ts';
import type { Grant } from '../policy/access.ts';
import type { ProjectQuotas } from '../protocol/access.ts';
import { HEADER } from '../protocol/headers.ts';
import { PROJECT_NAME_PATTERN } from '../protocol/limits.ts';
import { findProject, type Project } from '../store/project.ts';
import { apiKeyId, hashKey } from './api-key.ts';
import { received } from './input-errors.ts';
import type { KeyDirectory, KnownKey } from './key-directory.ts';
import type { ApiParts } from './parts.ts';
import { invalidRequest, ProblemError } from './problem.ts';
import { createRefreshingCache } from './refreshing-cache.ts';
import type { ApiEnv } from './router.ts';

/** Only projects that exist are remembered, so guessing fills nothing. */
const FRESH = { ttlMs: 1_000, refreshAfterMs: 500, maxEntries: 10_000 };

/** Who sent a request, and what it may do. */
export interface Caller extends Grant {
  project: string;
  /** True for the admin key of the service, which may act in every project. */
  isOperator: boolean;
  quotas: ProjectQuotas;
  /** What the project's new tasks are encrypted with; null = they are not. */
  dataKey: number | null;
  /** What the cursors of the project's lists are sealed with. */
  cursorKey: Uint8Array;
}

/**
 * Demands a key and sets `caller`: in the key's own project, or, with the admin key, in the one that the
 * `Errand-Project` header names (`default` without it). Secrets are compared as SHA-256 hashes, in
 * constant time. Every request passes here: a key that is known costs one hash and no waiting.
 */
export function authenticate(
  parts: Pick<ApiParts, 'adminKey' | 'database'>,
  keys: KeyDirectory,
): MiddlewareHandler<ApiEnv> {
  const { adminKey, database } = parts;
  const adminHash = hashKey(adminKey);
  const projects = createRefreshingCache(FRESH, (name) =>
    database.run((sql) => findProject(sql, name)).then((project) => project && operator(project)),
  );

  function callerOf(key: string, asked: string | undefined): Caller | Promise<Caller> {
    const keyHash = hashKey(key);
    if (timingSafeEqual(keyHash, adminHash)) return asOperator(asked ?? DEFAULT_PROJECT);
    const id = apiKeyId(key);
    const found = id === null ? null : keys.find(id);
    return found instanceof Promise
      ? found.then((known) => admit(known, keyHash, asked))
      : admit(found, keyHash, asked);
  }

  function asOperator(project: string): Caller | Promise<Caller> {
    if (!PROJECT_NAME_PATTERN.test(project)) throw badProject(project);
    const found = projects.get(project);
    return found instanceof Promise ? found.then((known) => known ?? noProject(project)) : found;
  }

  function admit(known: KnownKey | null, keyHash: Buffer, asked: string | undefined): Caller {
    if (known === null || !timingSafeEqual(keyHash, known.secretHash)) {
      throw unauthenticated('The API key is unknown, expired or revoked');
    }
    if (asked !== undefined && asked !== known.project) throw notItsProject(known.project);
    keys.noteUse(known);
    const { project, scopes, queues, quotas, dataKey, cursorKey } = known;
    return { project, scopes, queues, quotas, dataKey, cursorKey, isOperator: false };
  }

  return async (c, next) => {
    const found = callerOf(bearer(c.req.header('authorization')), c.req.header(HEADER.project));
    const caller = found instanceof Promise ? await found : found;
    c.set('project', caller.project);
    c.set('caller', caller);
    await next();
  };
}

function operator({ name, quotas, dataKey, cursorKey }: Project): Caller {
  const own = { project: name, quotas, dataKey, cursorKey };
  return { ...own, scopes: ['admin'], queues: null, isOperator: true };
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

/** Whether the other project exists is none of its business. */
function notItsProject(own: string): ProblemError {
  return new ProblemError(
    'forbidden',
    `The API key belongs to project "${own}"; only the admin key may name another in ${HEADER.project}`,
  );
}

/** Only the admin key gets to read this. */
function noProject(name: string): never {
  throw new ProblemError('not-found', `There is no project "${name}"`);
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
