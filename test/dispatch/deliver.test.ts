import { createSecretKey, randomBytes } from 'node:crypto';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { type DeliverParts, deliver, prepareCall } from '../../src/dispatch/deliver.ts';
import { createTargetGuard } from '../../src/dispatch/guard.ts';
import { createPoster, type Poster } from '../../src/dispatch/post.ts';
import type { AttemptClaims, Signer } from '../../src/dispatch/sign.ts';
import type { ClaimedTask, QueueRecord } from '../../src/model.ts';
import type { DataKey } from '../../src/store/content-seal.ts';
import { claimedTask } from '../support/claimed-task.ts';
import { queueRecord } from '../support/queue-record.ts';
import { startTarget, type Target } from '../support/target.ts';

const NOW_MS = Date.parse('2026-01-02T03:04:05.678Z');

let poster: Poster;
let target: Target;
let signed: AttemptClaims[];
let parts: DeliverParts;

beforeEach(async () => {
  target = await startTarget();
  signed = [];
  poster = createPoster({ guard: createTargetGuard({ allow: ['loopback'] }), connections: 4 });
  parts = {
    poster,
    keyring: { get: () => dataKey },
    signerOf: async () => signer,
    clock: { set() {}, now: () => NOW_MS },
    monotonic: () => performance.now(),
    publicUrl: 'https://errand.example',
  };
});

afterEach(async () => {
  await poster.close();
  await target.close();
});

const dataKey: DataKey = {
  id: 7,
  project: 'default',
  secret: createSecretKey(randomBytes(32)),
};

const signer: Signer = {
  async sign(claims) {
    signed.push(claims);
    return 'TOKEN';
  },
  signWebhook: (secrets, { id }) => ({ 'webhook-id': id, 'webhook-signature': secrets[0]!.id }),
};

const taskTo = (path: string, fields: Partial<ClaimedTask> = {}) =>
  claimedTask({ url: `${target.url}${path}`, ...fields });

function prepareAndDeliver(task: ClaimedTask, mayBegin = () => true, queue = queueRecord()) {
  return deliver(parts, task, queue, prepareCall(parts, task, queue), mayBegin);
}

describe('prepareCall()', () => {
  test('signs before there is a slot, and begins no call', async () => {
    const call = await prepareCall(parts, taskTo('/work?a=1#part'), queueRecord({ name: 'mail' }));
    expect(await call!.token).toBe('TOKEN');
    expect(call!.webhook).toBeNull();
    expect(call!.target.href).toBe(`${target.url}/work?a=1`);
    expect(signed).toEqual([
      {
        issuer: 'https://errand.example',
        audience: target.url,
        queue: 'mail',
        taskId: '0198c0de000070008000000000000001',
        leaseId: '3f2f0f5e-5c1c-4f0e-9b0a-000000000001',
        method: 'POST',
        url: `${target.url}/work?a=1`,
        body: Buffer.from('{}'),
        issuedAt: Math.floor(NOW_MS / 1000),
      },
    ]);
    expect(target.arrivals).toEqual([]);
  });

  test("signs for the project's issuer and the queue's audience", async () => {
    const { settings } = queueRecord();
    const queue = queueRecord({ project: 'acme', settings: { ...settings, audience: 'workers' } });
    await (await prepareCall(parts, taskTo('/'), queue))!.token;
    expect(signed).toMatchObject([
      { issuer: 'https://errand.example/p/acme', audience: 'workers' },
    ]);
  });

  test('signs as a webhook, with the id of the step, where the queue has secrets', async () => {
    const secret = { id: 'secret-1' } as QueueRecord['webhookSecrets'][number];
    const queue = queueRecord({ webhookSecrets: [secret] });
    const call = await prepareCall(parts, taskTo('/', { step: 2 }), queue);
    expect(await call!.webhook).toEqual({
      'webhook-id': '0198c0de000070008000000000000001-2',
      'webhook-signature': 'secret-1',
    });
  });

  test('is null for a task that has expired, and signs nothing', () => {
    expect(prepareCall(parts, taskTo('/', { isExpired: true }), queueRecord())).toBeNull();
    expect(signed).toEqual([]);
  });

  test('is null for a URL that is none', () => {
    expect(prepareCall(parts, claimedTask({ url: 'no url' }), queueRecord())).toBeNull();
  });

  test('leaves a failure to sign to whoever delivers, so that one not called harms nobody', async () => {
    const unhandled: unknown[] = [];
    const note = (reason: unknown) => void unhandled.push(reason);
    process.on('unhandledRejection', note);
    parts.signerOf = async () => {
      throw new Error('no key');
    };
    const secret = { id: 'secret-1' } as QueueRecord['webhookSecrets'][number];
    const queue = queueRecord({ webhookSecrets: [secret] });
    const call = prepareCall(parts, taskTo('/'), queue);
    await new Promise((resolve) => setImmediate(resolve));
    await new Promise((resolve) => setImmediate(resolve));
    process.off('unhandledRejection', note);
    expect(unhandled).toEqual([]);
    const delivering = deliver(parts, taskTo('/'), queue, call, () => true);
    await expect(delivering).rejects.toThrow('no key');
    expect(target.arrivals).toEqual([]);
  });
});

describe('deliver()', () => {
  test('makes the call with the token that was prepared, and decides', async () => {
    const task = taskTo('/work#part', { body: Buffer.from([0, 255]), attempt: 2 });
    const settlement = await prepareAndDeliver(task);
    expect(target.arrivals).toMatchObject([
      {
        method: 'POST',
        path: '/work',
        body: Buffer.from([0, 255]),
        headers: { 'errand-authorization': 'Bearer TOKEN', 'errand-attempt': '2' },
      },
    ]);
    expect(settlement).toMatchObject({
      leaseId: task.leaseId,
      attempt: 2,
      outcome: 'responded',
      status: 200,
      decision: { kind: 'succeed' },
    });
  });

  test('mayBegin() is asked when the connection is there: null, and nothing is sent, when it says no', async () => {
    let isThawed = false;
    const asked: boolean[] = [];
    const mayBegin = () => {
      asked.push(isThawed);
      return !isThawed;
    };
    const task = taskTo('/');
    const call = prepareCall(parts, task, queueRecord());
    const delivering = deliver(parts, task, queueRecord(), call, mayBegin);
    // Between the claim and the connection the process is frozen, and thawed too late.
    isThawed = true;
    expect(await delivering).toBeNull();
    expect(asked).toEqual([true]);
    expect(target.arrivals).toEqual([]);
  });

  test('fails a task that has expired, with no attempt to log', async () => {
    const settlement = await prepareAndDeliver(taskTo('/', { isExpired: true }));
    expect(settlement).toMatchObject({
      outcome: null,
      durationMs: 0,
      decision: { kind: 'fail', reason: 'its expire time passed before it could start' },
    });
    expect(target.arrivals).toEqual([]);
  });

  test('a URL that is none is unreachable, and retried as such', async () => {
    expect(await prepareAndDeliver(claimedTask({ url: 'no url' }))).toMatchObject({
      outcome: 'unreachable',
      error: expect.stringContaining('its URL can not be parsed'),
      decision: { kind: 'retry' },
    });
  });
});
