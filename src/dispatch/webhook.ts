import { createHmac } from 'node:crypto';

/** What a Standard Webhooks library is to verify. */
export interface WebhookMessage {
  /** The same for every attempt of a step, so that a worker can tell a repeat. */
  id: string;
  /** Seconds since the epoch, by the database's clock. */
  timestamp: number;
  body: Uint8Array;
}

/**
 * The headers of the Standard Webhooks specification (1.0, symmetric signatures): one signature for
 * each secret, a blank between them, so that a worker that knows either of two can verify them.
 *
 * Source: https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md
 */
export function webhookHeaders(
  secrets: readonly Uint8Array[],
  { id, timestamp, body }: WebhookMessage,
): Record<string, string> {
  const signatures = secrets.map((secret) => {
    const hmac = createHmac('sha256', secret).update(`${id}.${timestamp}.`).update(body);
    return `v1,${hmac.digest('base64')}`;
  });
  return {
    'webhook-id': id,
    'webhook-timestamp': String(timestamp),
    'webhook-signature': signatures.join(' '),
  };
}

/** The bytes behind `whsec_`, which are what signs. */
export function webhookSecretBytes(secret: string): Uint8Array {
  return Buffer.from(secret.replace(/^whsec_/, ''), 'base64');
}

/** A task's id; a later step of it is another message, for it carries another payload. */
export function webhookId(taskId: string, step: number): string {
  return step === 0 ? taskId : `${taskId}-${step}`;
}
