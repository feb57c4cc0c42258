import { afterEach, describe, expect, it } from 'vitest';
import type { ClientOptions, ErrandClient } from '../../src/client/index.ts';
import {
  createClient,
  ErrandApiError,
  ErrandConnectionError,
  ErrandTimeoutError,
} from '../../src/client/index.ts';
import {
  aTask,
  problem,
  type Reply,
  type ScriptedApi,
  startScriptedApi,
  TASK_ID,
} from './scripted-api.ts';

let api: ScriptedApi;
afterEach(() => api.close());

async function clientOf(
  replies: Reply[],
  options: Partial<ClientOptions> = {},
): Promise<ErrandClient> {
  api = await startScriptedApi((_, n) => replies[Math.min(n, replies.length - 1)]!);
  return createClient({ url: api.url, key: 'secret', ...options });
}

/** Remembers keys as the service does: a repeat gets the first task with 200. */
async function remembering(firstReply: Reply): Promise<{ client: ErrandClient; tasks: string[] }> {
  const tasks: string[] = [];
  api = await startScriptedApi(({ headers }, n) => {
    const key = String(headers['idempotency-key']);
    const isNew = !tasks.includes(key);
    if (isNew) tasks.push(key);
    return n === 0 ? firstReply : { status: isNew ? 201 : 200, body: aTask() };
  });
  return { client: createClient({ url: api.url, key: 'secret' }), tasks };
}

describe('what is safe to repeat', () => {
  it.each<[string, Reply]>([
    ['503 outcome-unknown', problem(503, 'outcome-unknown')],
    ['a dropped connection', 'drop'],
    ["a proxy's 502", { status: 502, body: '<h1>Bad gateway</h1>' }],
  ])('enqueue() after %s enqueues once', async (_, reply) => {
    const { client, tasks } = await remembering(reply);
    expect((await client.enqueue('mail', { url: 'http://127.0.0.1:9/x' })).id).toBe(TASK_ID);
    expect(api.seen).toHaveLength(2);
    expect(tasks).toHaveLength(1);
  });

  it('enqueueBatch() is repeated under the same Idempotency-Key', async () => {
    const items = [{ status: 201, task: aTask() }];
    const client = await clientOf(['drop', { status: 200, body: { items } }]);
    expect(await client.enqueueBatch('mail', [{ url: 'http://127.0.0.1:9/x' }])).toEqual(items);
    const keys = api.seen.map(({ headers }) => headers['idempotency-key']);
    expect(keys[0]).toMatch(/^[0-9a-f-]{36}$/);
    expect(keys).toEqual([keys[0], keys[0]]);
  });

  it('get() is repeated until there is an answer', async () => {
    const away = problem(503, 'database-unavailable');
    const client = await clientOf([away, 'drop', { status: 200, body: aTask() }]);
    expect(await client.get(TASK_ID)).toEqual(aTask());
    expect(api.seen).toHaveLength(3);
  });

  it('get() gives up after the set retries, with the last error', async () => {
    const client = await clientOf([problem(503, 'shutting-down')], { retries: 1 });
    await expect(client.get(TASK_ID)).rejects.toMatchObject({ code: 'shutting-down', status: 503 });
    expect(api.seen).toHaveLength(2);
  });

  it('get() waits as long as Retry-After says', async () => {
    const busy = { ...problem(429, 'busy'), headers: { 'retry-after': '1' } };
    const client = await clientOf([busy, { status: 200, body: aTask() }]);
    const started = performance.now();
    await client.get(TASK_ID);
    expect(performance.now() - started).toBeGreaterThanOrEqual(990);
  });

  it.each([400, 404, 409, 422, 500])('get() is not repeated after %i', async (status) => {
    const client = await clientOf([problem(status, 'some-code')]);
    await expect(client.get(TASK_ID)).rejects.toMatchObject({ status, code: 'some-code' });
    expect(api.seen).toHaveLength(1);
  });

  it.each<[string, (client: ErrandClient) => Promise<unknown>]>([
    ['cancel', (client) => client.cancel(TASK_ID)],
    ['retry', (client) => client.retry(TASK_ID)],
    ['delete', (client) => client.delete(TASK_ID)],
    ['queues.put', (client) => client.queues.put('mail')],
  ])('%s() is never repeated', async (_, call) => {
    const client = await clientOf([problem(503, 'outcome-unknown')]);
    await expect(call(client)).rejects.toMatchObject({ code: 'outcome-unknown' });
    expect(api.seen).toHaveLength(1);
  });
});

describe('errors', () => {
  it('ErrandApiError carries the problem document', async () => {
    const errors = [{ pointer: '/url', expected: 'an http(s) URL', received: '"bad"' }];
    const client = await clientOf([problem(400, 'invalid-request', { errors })]);
    const error = await client.enqueue('mail', { url: 'bad' }).catch((e: unknown) => e);
    expect(error).toBeInstanceOf(ErrandApiError);
    expect(error).toMatchObject({
      name: 'ErrandApiError',
      status: 400,
      code: 'invalid-request',
      detail: 'It is invalid-request',
      errors,
      taskId: null,
      message:
        '400 invalid-request: It is invalid-request; /url: expected an http(s) URL, got "bad"',
    });
  });

  it('ErrandApiError names the task that holds the name', async () => {
    const client = await clientOf([problem(409, 'name-taken', { taskId: TASK_ID })]);
    const enqueuing = client.enqueue('mail', { url: 'http://127.0.0.1:9/x', name: 'a' });
    await expect(enqueuing).rejects.toMatchObject({ code: 'name-taken', taskId: TASK_ID });
  });

  it.each<[string, Reply, string]>([
    ['text', { status: 500, body: 'oh no' }, 'oh no'],
    ['other JSON', { status: 500, body: { error: 'x' } }, '{"error":"x"}'],
    ['null', { status: 500, body: 'null' }, 'null'],
    ['nothing', { status: 500, body: '' }, 'without a text'],
  ])('an error with %s for a body is an http-error', async (_, reply, detail) => {
    const client = await clientOf([reply]);
    const expected = { status: 500, code: 'http-error', detail, errors: [] };
    await expect(client.get(TASK_ID)).rejects.toMatchObject(expected);
  });

  it('a success that is not JSON is an http-error', async () => {
    const client = await clientOf([{ status: 200, body: '<html>' }]);
    await expect(client.get(TASK_ID)).rejects.toMatchObject({ status: 200, code: 'http-error' });
  });

  it('no answer in time is an ErrandTimeoutError', async () => {
    const client = await clientOf(['hang'], { timeoutMs: 30, retries: 0 });
    const error = await client.get(TASK_ID).catch((e: unknown) => e);
    expect(error).toBeInstanceOf(ErrandTimeoutError);
    expect((error as Error).message).toMatch(/^GET http.* had no answer within 30 ms$/);
  });

  it('a service that is not there is an ErrandConnectionError with the cause', async () => {
    const client = await clientOf(['drop'], { retries: 0 });
    const error = await client.get(TASK_ID).catch((e: unknown) => e);
    expect(error).toBeInstanceOf(ErrandConnectionError);
    expect((error as Error).cause).toBeInstanceOf(Error);
    expect((error as Error).message).not.toContain('secret');
  });
});
