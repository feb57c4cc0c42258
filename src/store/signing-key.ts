import { array } from './array.ts';
import type { Sql } from './database.ts';

/** The members are those of RFC 7517. */
export type Jwk = Record<string, unknown>;

export interface SigningKey {
  /** RFC 7638 thumbprint of the public key. */
  kid: string;
  algorithm: string;
  publicJwk: Jwk;
  /** As `Vault.seal` gave it. */
  privateJwk: Jwk;
}

/** A public key as a JWKS shows it. */
export type PublicKey = Pick<SigningKey, 'kid' | 'algorithm' | 'publicJwk'>;

/** A key as operators see it. */
export interface SigningKeyRecord extends Pick<SigningKey, 'kid' | 'algorithm'> {
  state: 'published' | 'signing' | 'retired' | 'revoked';
  createdAt: Date;
  /** When it signs; null for a project's first key, which did from the start. */
  signsFrom: Date | null;
  /** When it is no longer in the JWKS; null while that is not known. */
  leavesAt: Date | null;
}

/** What the envelope of its private key is bound to. */
export function signingKeyContext(kid: string): string {
  return `signing-key/${kid}`;
}

/** How long a key stays in the JWKS after its successor began: longer than any token or cache lives. */
const STAYS = '1 day';

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

/**
 * Of the keys that have begun, the last. Index: `signing_key_begin`, backwards. No locks. Null before
 * the first was made.
 */
export async function activeSigningKey(sql: Sql, project: string): Promise<SigningKey | null> {
  const [row] = await sql<SigningKey[]>`
    select kid, algorithm, public_jwk as "publicJwk", private_jwk as "privateJwk"
    from errand.signing_key
    where project = ${project} and signs_from <= now() and revoked_at is null
    order by signs_from desc limit 1
  `;
  return row ?? null;
}

/** The ids of the keys that projects sign with; those without any are missing. Index: `signing_key_begin`. No locks. */
export async function activeKids(
  sql: Sql,
  projects: readonly string[],
): Promise<Map<string, string>> {
  const rows = await sql<{ project: string; kid: string }[]>`
    select p.project, k.kid from unnest(${array(sql, 'text', projects)}) as p(project)
    cross join lateral (
      select kid from errand.signing_key
      where project = p.project and signs_from <= now() and revoked_at is null
      order by signs_from desc limit 1
    ) k
  `;
  return new Map(rows.map(({ project, kid }) => [project, kid]));
}

/**
 * What a project's JWKS holds: the key that signs, then those to come, then those that signed until a
 * day ago. Reads the small table whole.
 */
export async function publicKeys(sql: Sql, project: string): Promise<PublicKey[]> {
  return sql<PublicKey[]>`
    select kid, algorithm, public_jwk as "publicJwk" from (${lives(sql, project)}) k
    where state in ('signing', 'published')
      or (state = 'retired' and retired_at > now() - ${STAYS}::interval)
    order by state = 'signing' desc, signs_from desc
  `;
}

/** Every key that a project has or had, the newest first. Reads the small table whole. */
export async function listSigningKeys(sql: Sql, project: string): Promise<SigningKeyRecord[]> {
  return sql<SigningKeyRecord[]>`
    select kid, algorithm, state, created_at as "createdAt",
      nullif(signs_from, '-infinity') as "signsFrom",
      coalesce(revoked_at, retired_at + ${STAYS}::interval) as "leavesAt"
    from (${lives(sql, project)}) k order by k.signs_from desc
  `;
}

/**
 * Publishes a key that signs from `inSeconds` on; the present one signs until then, and stays published
 * for a day after. Null when there is no such project. Appends only. Two at once both count: each key is
 * published for as long as was asked, and the one that begins last stays.
 */
export async function rotateSigningKey(
  sql: Sql,
  project: string,
  key: SigningKey,
  inSeconds: number,
): Promise<{ signsFrom: Date } | null> {
  const [row] = await sql<{ signsFrom: Date }[]>`
    insert into errand.signing_key (kid, project, algorithm, public_jwk, private_jwk, signs_from)
    select ${key.kid}, name, ${key.algorithm}, ${json(key.publicJwk)}::text::jsonb,
      ${json(key.privateJwk)}::text::jsonb, now() + make_interval(secs => ${inSeconds})
    from errand.project where name = ${project}
    returning signs_from as "signsFrom"
  `;
  return row ?? null;
}

/**
 * Takes a key out of use and out of the JWKS, at once. When it is the one that signs, `successor` signs
 * from now on, and what was signed with the old one can no longer be verified by whoever fetches the
 * JWKS anew. False when the project has no such key, or it was revoked before.
 *
 * Index: primary key. Locks the key's row. Safe beside a rotation: whichever commits last, the
 * successor has begun and is not revoked.
 */
export async function revokeSigningKey(
  sql: Sql,
  project: string,
  kid: string,
  successor: SigningKey,
): Promise<boolean> {
  const [row] = await sql`
    with active as (
      select kid from errand.signing_key
      where project = ${project} and signs_from <= now() and revoked_at is null
      order by signs_from desc limit 1
    ),
    revoked as (
      update errand.signing_key set revoked_at = now()
      where kid = ${kid} and project = ${project} and revoked_at is null returning kid
    ),
    succeeded as (
      insert into errand.signing_key (kid, project, algorithm, public_jwk, private_jwk, signs_from)
      select ${successor.kid}, ${project}, ${successor.algorithm},
        ${json(successor.publicJwk)}::text::jsonb, ${json(successor.privateJwk)}::text::jsonb, now()
      from revoked join active using (kid)
    )
    select kid from revoked
  `;
  return row !== undefined;
}

/** One first key a project is a unique index, `signing_key_begin`: whoever comes second changes nothing. */
async function insertSigningKey(sql: Sql, project: string, key: SigningKey): Promise<void> {
  await sql`
    insert into errand.signing_key (kid, project, algorithm, public_jwk, private_jwk, signs_from)
    values (${key.kid}, ${project}, ${key.algorithm}, ${json(key.publicJwk)}::text::jsonb,
      ${json(key.privateJwk)}::text::jsonb, '-infinity')
    on conflict do nothing
  `;
}

/** A key signs until the next one that was not revoked begins. */
function lives(sql: Sql, project: string) {
  return sql`
    select *, case
      when revoked_at is not null then 'revoked'
      when signs_from > now() then 'published'
      when retired_at is null or retired_at > now() then 'signing'
      else 'retired' end as state
    from (
      select kid, algorithm, public_jwk, created_at, signs_from, revoked_at,
        lead(signs_from) over (partition by revoked_at is not null order by signs_from) as retired_at
      from errand.signing_key where project = ${project}
    ) l`;
}

const json = (value: unknown) => JSON.stringify(value);
