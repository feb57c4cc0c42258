import type { WebhookSecretRecord } from '../model.ts';
import type { Sql } from './database.ts';
import type { Envelope } from './vault.ts';

/** So many sign at once: the one in use, and the one that replaces it. */
export const MAX_WEBHOOK_SECRETS = 2;

/** What its envelope is bound to. */
export function webhookSecretContext(id: string): string {
  return `webhook-secret/${id}`;
}

/**
 * Gives a queue a secret; from the commit on its tasks are claimed with it. Index: `queue_name`. The
 * count is checked again under the row's lock, so that of two at once the third secret is refused.
 */
export async function addWebhookSecret(
  sql: Sql,
  input: { project: string; queue: string; id: string; secret: string | Envelope },
): Promise<{ kind: 'added'; createdAt: Date } | { kind: 'too-many' } | { kind: 'not-found' }> {
  const { project, queue, id } = input;
  const secret = JSON.stringify({ id, secret: input.secret });
  const [row] = await sql<{ createdAt: Date | null }[]>`
    with added as (
      update errand.queue set version = version + 1, updated_at = now(),
        webhook_secrets = webhook_secrets
          || jsonb_build_array(${secret}::text::jsonb || jsonb_build_object('createdAt', now()))
      where project = ${project} and name = ${queue} and deleted_at is null
        and jsonb_array_length(webhook_secrets) < ${MAX_WEBHOOK_SECRETS}
      returning id, now() as at
    )
    select a.at as "createdAt" from errand.queue q left join added a using (id)
    where q.project = ${project} and q.name = ${queue} and q.deleted_at is null
  `;
  if (row === undefined) return { kind: 'not-found' };
  return row.createdAt === null
    ? { kind: 'too-many' }
    : { kind: 'added', createdAt: row.createdAt };
}

/** A queue's secrets, the oldest first; null when there is no such queue. Index: `queue_name`. No locks. */
export async function listWebhookSecrets(
  sql: Sql,
  project: string,
  queue: string,
): Promise<WebhookSecretRecord[] | null> {
  const [row] = await sql<{ secrets: WebhookSecretRecord[] }[]>`
    select webhook_secrets as secrets from errand.queue
    where project = ${project} and name = ${queue} and deleted_at is null
  `;
  return row?.secrets ?? null;
}

/** Takes a secret away; false when the queue has none of this id. Index: `queue_name`. Locks the row. */
export async function removeWebhookSecret(
  sql: Sql,
  input: { project: string; queue: string; id: string },
): Promise<boolean> {
  const rows = await sql`
    update errand.queue set version = version + 1, updated_at = now(),
      webhook_secrets = (
        select coalesce(jsonb_agg(s), '[]') from jsonb_array_elements(webhook_secrets) s
        where s ->> 'id' <> ${input.id})
    where project = ${input.project} and name = ${input.queue} and deleted_at is null
      and webhook_secrets @> jsonb_build_array(jsonb_build_object('id', ${input.id}::text))
    returning id
  `;
  return rows.length > 0;
}
