import type { Sql } from './database.ts';

/** The members are those of RFC 7517. */
export type Jwk = Record<string, unknown>;

export interface SigningKey {
  /** RFC 7638 thumbprint of the public key. */
  kid: string;
  algorithm: string;
  publicJwk: Jwk;
  privateJwk: Jwk;
}

/** A public key as a JWKS shows it. */
export type PublicKey = Pick<SigningKey, 'kid' | 'algorithm' | 'publicJwk'>;

/**
 * The key that a project signs with; at first need it is made. Two processes that start at once end
 * with one: both may make a key, but only one insert is taken, and both read that one.
 */
export async function ensureSigningKey(
  sql: Sql,
  project: string,
  make: () => Promise<SigningKey>,
): Promise<SigningKey> {
  const existing = await activeSigningKey(sql, project);
  if (existing !== null) return existing;
  await insertSigningKey(sql, project, await make());
  const active = await activeSigningKey(sql, project);
  if (active === null) throw new Error(`Project "${project}" was left without a signing key`);
  return active;
}

/** Index: `signing_key_active`. No locks. Null before the first was made. */
export async function activeSigningKey(sql: Sql, project: string): Promise<SigningKey | null> {
  const [row] = await sql<SigningKey[]>`
    select kid, algorithm, public_jwk as "publicJwk", private_jwk as "privateJwk"
    from errand.signing_key where project = ${project} and retired_at is null
  `;
  return row ?? null;
}

/**
 * What a project's JWKS holds, the active key first: a retired one stays for a day, longer than any
 * token lives and any JWKS is cached. Reads the small table whole.
 */
export async function publicKeys(sql: Sql, project: string): Promise<PublicKey[]> {
  return sql<PublicKey[]>`
    select kid, algorithm, public_jwk as "publicJwk" from errand.signing_key
    where project = ${project} and (retired_at is null or retired_at > now() - interval '1 day')
    order by retired_at desc nulls first, kid
  `;
}

/** One active key a project is a unique index, `signing_key_active`: whoever comes second changes nothing. */
async function insertSigningKey(sql: Sql, project: string, key: SigningKey): Promise<void> {
  await sql`
    insert into errand.signing_key (kid, project, algorithm, public_jwk, private_jwk)
    values (${key.kid}, ${project}, ${key.algorithm},
      ${JSON.stringify(key.publicJwk)}::text::jsonb, ${JSON.stringify(key.privateJwk)}::text::jsonb)
    on conflict do nothing
  `;
}
