import { Webhook } from 'standardwebhooks';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { webhookHeaders, webhookId, webhookSecretBytes } from '../../src/dispatch/webhook.ts';
import { createVault } from '../../src/store/vault.ts';
import {
  addWebhookSecret,
  removeWebhookSecret,
  webhookSecretContext,
} from '../../src/store/webhook-secret.ts';
import { type Bench, startBench } from '../support/dispatcher.ts';
import { type Arrival, startTarget, type Target } from '../support/target.ts';

const OLD = `whsec_${Buffer.alloc(32, 1).toString('base64')}`;
const NEW = `whsec_${Buffer.alloc(32, 2).toString('base64')}`;

describe('webhookHeaders()', () => {
  test('makes the signature of the specification’s own example', () => {
    const secret = webhookSecretBytes('whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw');
    const message = {
      id: 'msg_p5jXN8AQM9LWM0D4loKWxJek',
      timestamp: 1_614_265_330,
      body: Buffer.from('{"test": 2432232314}'),
    };
    expect(webhookHeaders([secret], message)).toEqual({
      'webhook-id': message.id,
      'webhook-timestamp': '1614265330',
      'webhook-signature': 'v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=',
    });
  });

  test('names every step of a task by an id of its own', () => {
    expect([webhookId('a', 0), webhookId('a', 1)]).toEqual(['a', 'a-1']);
  });
});

describe('the standardwebhooks package', () => {
  let bench: Bench;
  let target: Target;
  beforeAll(async () => {
    bench = await startBench();
  });
  beforeEach(async () => {
    target = await startTarget();
  });
  afterEach(() => target.close());
  afterAll(() => bench.close());

  const DEFAULT = { project: 'default', queue: 'default' };
  const give = (id: string, secret: string) =>
    bench.database.run((sql) => addWebhookSecret(sql, { ...DEFAULT, id, secret }));

  function verifies(secret: string, { body, headers }: Arrival): boolean {
    try {
      new Webhook(secret).verify(body.toString(), headers as Record<string, string>);
      return true;
    } catch {
      return false; // That it does not verify is the answer.
    }
  }

  async function call(body: string, headers: Record<string, string> = {}): Promise<Arrival> {
    const before = target.arrivals.length;
    await bench.enqueue({ url: target.url, body: Buffer.from(body), headers });
    return (await target.arrived(before + 1))[before]!;
  }

  test('verifies an attempt by the queue’s secret, through a rotation, and by no other', async () => {
    expect((await call('{"n":0}')).headers).not.toHaveProperty('webhook-signature');

    await give('old', OLD);
    const first = await call('{"n":1}', { 'Webhook-Id': 'forged' });
    expect([verifies(OLD, first), verifies(NEW, first)]).toEqual([true, false]);
    expect(first.headers['webhook-id']).toBe(first.headers['errand-task-id']);
    expect(verifies(OLD, { ...first, body: Buffer.from('{"n":9}') })).toBe(false);

    const sealed = createVault([]).seal(NEW, webhookSecretContext('new'));
    await give('new', sealed as string);
    const both = await call('{"n":2}');
    expect([verifies(OLD, both), verifies(NEW, both)]).toEqual([true, true]);

    await bench.database.run((sql) => removeWebhookSecret(sql, { ...DEFAULT, id: 'old' }));
    const last = await call('{"n":3}');
    expect([verifies(OLD, last), verifies(NEW, last)]).toEqual([false, true]);
    expect(last.headers).toHaveProperty('errand-authorization');
  });
});
