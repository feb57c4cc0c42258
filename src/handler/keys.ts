import type { JSONWebKeySet, JWTVerifyGetKey } from 'jose';
import { createLocalJWKSet, createRemoteJWKSet } from 'jose';
import { ConfigurationError } from './errors.ts';

/**
 * The service publishes its keys with `max-age=300`. An unknown `kid` makes jose look again at once,
 * but at most every 30 s, so that forged tokens can't turn a worker into a flood on the issuer.
 */
const KEYS_MAX_AGE_MS = 300_000;

/**
 * One key set an address for the life of the process, so that every task of a worker, and a
 * `verify()` with a fresh options object each time, share what was fetched. The addresses come from
 * configuration, never from a token, which bounds the map.
 */
const remoteKeys = new Map<string, JWTVerifyGetKey>();

/** Where the keys of an issuer come from: its address, or the given set. */
export function keySource(source: URL | JSONWebKeySet): JWTVerifyGetKey {
  if (source instanceof URL) return remoteKeySource(source);
  try {
    return createLocalJWKSet(source);
  } catch {
    // jose says only "malformed"; the reader needs to know which option it was.
    throw new ConfigurationError('jwks must be a JSON Web Key Set: { keys: [...] }');
  }
}

function remoteKeySource(url: URL): JWTVerifyGetKey {
  let keys = remoteKeys.get(url.href);
  if (keys === undefined) {
    keys = createRemoteJWKSet(url, { cacheMaxAge: KEYS_MAX_AGE_MS });
    remoteKeys.set(url.href, keys);
  }
  return keys;
}
