import type { WebhookSecretRecord } from '../model.ts';
import { dataKeyContext } from './data-key.ts';
import type { Sql } from './database.ts';
import { type Jwk, signingKeyContext } from './signing-key.ts';
import { isEnvelope, type Vault } from './vault.ts';
import { webhookSecretContext } from './webhook-secret.ts';

/** What the secrets of a database are wrapped by. */
export interface SecretsReport {
  /** Secrets that lie there as they are. */
  unwrapped: number;
  /** Secrets by the id of their master key. */
  wrapped: Map<string, number>;
}

interface SecretRow {
  place: 'signing-key' | 'queue' | 'data-key';
  id: string;
  project: string;
  secret: Jwk | WebhookSecretRecord[];
}

/**
 * Opens every secret there is, so that a master key that is missing or wrong is known at the start and
 * not at the first task. Throws what `Vault.open` does. Reads three small tables whole; no locks.
 */
export async function checkSecrets(sql: Sql, vault: Vault): Promise<SecretsReport> {
  const report: SecretsReport = { unwrapped: 0, wrapped: new Map() };
  for (const row of await listSecrets(sql)) {
    for (const { sealed, context } of secretsOf(row)) {
      vault.open(sealed, context);
      if (!isEnvelope(sealed)) report.unwrapped += 1;
      else report.wrapped.set(sealed.key, (report.wrapped.get(sealed.key) ?? 0) + 1);
    }
  }
  return report;
}

/**
 * Wraps every secret with the vault's first key, whatever it was wrapped with, or not at all; returns
 * how many were changed. Safe to repeat, also after it was cut off, and beside processes at work: a row
 * is only replaced as long as it is what was read, and one that changed meanwhile was wrapped anew.
 */
export async function rewrapSecrets(sql: Sql, vault: Vault): Promise<number> {
  let changed = 0;
  for (const row of await listSecrets(sql)) {
    const stale = secretsOf(row).filter(({ sealed }) => !isBy(sealed, vault.keyId));
    if (stale.length === 0) continue;
    if (await replaceSecret(sql, row, resealed(row, vault))) changed += stale.length;
  }
  return changed;
}

/**
 * Gives up what a master key wraps that was lost: the webhook secrets are gone, and so are the data keys,
 * so that what they encrypt can't be read again; the signing keys are named, for the caller to revoke and
 * replace. Reads three small tables whole; locks the rows it changes. Safe to repeat.
 */
export async function abandonSecrets(
  sql: Sql,
  keyId: string,
): Promise<{
  queues: number;
  dataKeys: number;
  signingKeys: { project: string; kid: string }[];
}> {
  const queues = await sql`
    update errand.queue set version = version + 1, updated_at = now(),
      webhook_secrets = (
        select coalesce(jsonb_agg(s), '[]') from jsonb_array_elements(webhook_secrets) s
        where s -> 'secret' ->> 'key' is distinct from ${keyId})
    where webhook_secrets @> jsonb_build_array(
      jsonb_build_object('secret', jsonb_build_object('key', ${keyId}::text)))
    returning id
  `;
  const dataKeys = await sql`
    update errand.data_key set wrapped = null where wrapped ->> 'key' = ${keyId} returning id
  `;
  const signingKeys = await sql<{ project: string; kid: string }[]>`
    select project, kid from (${livingKeys(sql)}) k where private_jwk ->> 'key' = ${keyId}
  `;
  return {
    queues: queues.length,
    dataKeys: dataKeys.length,
    signingKeys: [...signingKeys],
  };
}

async function listSecrets(sql: Sql): Promise<SecretRow[]> {
  return sql<SecretRow[]>`
    select 'signing-key' as place, kid as id, project, private_jwk as secret
    from (${livingKeys(sql)}) k
    union all
    select 'queue', id::text, project, webhook_secrets from errand.queue where webhook_secrets <> '[]'
    union all
    select 'data-key', id::text, project, wrapped from errand.data_key where wrapped is not null
  `;
}

/** What was revoked or has a successor never signs again, so that nobody needs to open it. */
function livingKeys(sql: Sql) {
  return sql`
    select * from errand.signing_key k
    where revoked_at is null and not exists (
      select from errand.signing_key s
      where s.project = k.project and s.revoked_at is null
        and s.signs_from > k.signs_from and s.signs_from <= now()
    )`;
}

function secretsOf(row: SecretRow): { sealed: unknown; context: string }[] {
  const { place, id, project, secret } = row;
  if (place === 'data-key') return [{ sealed: secret, context: dataKeyContext(project) }];
  if (place === 'signing-key') return [{ sealed: secret, context: signingKeyContext(id) }];
  return (secret as WebhookSecretRecord[]).map((each) => ({
    sealed: each.secret,
    context: webhookSecretContext(each.id),
  }));
}

function resealed(row: SecretRow, vault: Vault): unknown {
  const fresh = secretsOf(row).map(({ sealed, context }) =>
    vault.seal(vault.open(sealed, context), context),
  );
  if (row.place !== 'queue') return fresh[0];
  return (row.secret as WebhookSecretRecord[]).map((each, at) => ({ ...each, secret: fresh[at] }));
}

/** Primary keys; locks the row. A queue's version is raised, so that it is read again. */
async function replaceSecret(sql: Sql, row: SecretRow, fresh: unknown): Promise<boolean> {
  const before = sql`${JSON.stringify(row.secret)}::text::jsonb`;
  const after = sql`${JSON.stringify(fresh)}::text::jsonb`;
  const replace = {
    'signing-key': () => sql`
      update errand.signing_key set private_jwk = ${after}
      where kid = ${row.id} and private_jwk = ${before} returning kid`,
    queue: () => sql`
      update errand.queue set webhook_secrets = ${after}, version = version + 1
      where id = ${row.id}::integer and webhook_secrets = ${before} returning id`,
    'data-key': () => sql`
      update errand.data_key set wrapped = ${after}
      where id = ${row.id}::integer and wrapped = ${before} returning id`,
  };
  const rows = await replace[row.place]();
  return rows.length > 0;
}

function isBy(sealed: unknown, keyId: string | null): boolean {
  return isEnvelope(sealed) ? sealed.key === keyId : keyId === null;
}
