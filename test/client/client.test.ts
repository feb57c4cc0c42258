import { afterEach, describe, expect, it } from 'vitest';
import { createClient, type ErrandClient } from '../../src/client/index.ts';
import {
  aTask,
  problem,
  type Reply,
  type Seen,
  startScriptedApi,
  TASK_ID,
} from './scripted-api.ts';

const URL_OF_TASK = 'http://127.0.0.1:9/x';
const UTC = { timeZone: 'UTC' };
const closers: (() => Promise<void>)[] = [];
afterEach(async () => {
  for (const close of closers.splice(0)) await close();
});

async function clientOf(
  script: (request: Seen, n: number) => Reply,
): Promise<{ client: ErrandClient; seen: Seen[] }> {
  const api = await startScriptedApi(script);
  closers.push(api.close);
  return { client: createClient({ url: `${api.url}/`, key: 'k'.repeat(24) }), seen: api.seen };
}

describe('createClient()', () => {
  it.each([
    [{ url: 'errand.example', key: 'k' }, /url must be an http\(s\) URL .* "errand.example"/],
    [{ url: 'http://a.example?b', key: 'k' }, /without query/],
    [{ url: 'http://a.example', key: '' }, /key must be/],
    [{ url: 'http://a.example', key: 'k', timeoutMs: 0 }, /timeoutMs must be a number > 0, got 0/],
    [{ url: 'http://a.example', key: 'k', retries: -1 }, /retries must be an integer .* got -1/],
  ])('refuses %j', (options, message) => {
    expect(() => createClient(options)).toThrow(message);
  });

  it('sends the project, and goes through the given fetch', async () => {
    const api = await startScriptedApi(() => ({ status: 200, body: aTask() }));
    closers.push(api.close);
    let calls = 0;
    const fetch: typeof globalThis.fetch = (...args) => {
      calls++;
      return globalThis.fetch(...args);
    };
    await createClient({ url: api.url, key: 'secret', project: 'acme', fetch }).get(TASK_ID);
    expect(calls).toBe(1);
    expect(api.seen[0]?.headers).toMatchObject({
      authorization: 'Bearer secret',
      'errand-project': 'acme',
    });
  });
});

describe('enqueue()', () => {
  it('posts the task with a random Idempotency-Key and returns it', async () => {
    const { client, seen } = await clientOf(() => ({ status: 201, body: aTask() }));
    expect(await client.enqueue('mail', { url: URL_OF_TASK, payload: 'hi' })).toEqual(aTask());
    await client.enqueue('mail', { url: URL_OF_TASK, payload: 'hi' });
    expect(seen[0]).toMatchObject({ method: 'POST', url: '/v1/queues/mail/tasks' });
    expect(seen[0]?.body).toEqual({ url: URL_OF_TASK, payload: 'hi' });
    const keys = seen.map((request) => request.headers['idempotency-key']);
    expect(keys[0]).toMatch(/^[0-9a-f-]{36}$/);
    expect(keys[1]).not.toBe(keys[0]);
  });

  it('sends json as the payload, with its content type', async () => {
    const { client, seen } = await clientOf(() => ({ status: 201, body: aTask() }));
    await client.enqueue('mail', { url: URL_OF_TASK, json: { a: 1 } }, { idempotencyKey: 'mine' });
    const expected = { url: URL_OF_TASK, payload: '{"a":1}', contentType: 'application/json' };
    expect(seen[0]?.body).toEqual(expected);
    expect(seen[0]?.headers['idempotency-key']).toBe('mine');
  });

  it('refuses json beside a payload, and what is no JSON', async () => {
    const { client, seen } = await clientOf(() => ({ status: 201, body: aTask() }));
    const both = client.enqueue('mail', { url: URL_OF_TASK, json: 1, payload: '1' });
    await expect(both).rejects.toThrow(/one of json, payload/);
    const none = client.enqueue('mail', { url: URL_OF_TASK, json: () => 1 });
    await expect(none).rejects.toThrow(/got a function/);
    expect(seen).toEqual([]);
  });

  it.each(['', '.', '..'])('refuses the queue %j, which would lead elsewhere', async (queue) => {
    const { client, seen } = await clientOf(() => ({ status: 201, body: aTask() }));
    await expect(client.enqueue(queue, {})).rejects.toThrow(TypeError);
    expect(seen).toEqual([]);
  });
});

describe('enqueueBatch()', () => {
  it('returns an item a task, refused ones too', async () => {
    const refused = { status: 400, problem: { code: 'invalid-request' } };
    const items = [{ status: 201, task: aTask() }, refused];
    const { client, seen } = await clientOf(() => ({ status: 200, body: { items } }));
    const tasks = [{ url: URL_OF_TASK, json: [1] }, { url: 'bad' }];
    expect(await client.enqueueBatch('mail', tasks)).toEqual(items);
    expect(seen[0]?.url).toBe('/v1/queues/mail/tasks/batch');
    const json = { url: URL_OF_TASK, payload: '[1]', contentType: 'application/json' };
    expect(seen[0]?.body).toEqual({ tasks: [json, { url: 'bad' }] });
  });

  it('refuses more than 1,000 tasks', async () => {
    const { client } = await clientOf(() => ({ status: 200 }));
    const tasks = Array.from({ length: 1001 }, () => ({ url: URL_OF_TASK }));
    await expect(client.enqueueBatch('mail', tasks)).rejects.toThrow(/up to 1000 tasks, got 1001/);
  });
});

describe('list()', () => {
  const pages: Record<string, Reply> = {
    '/v1/tasks?queue=mail&limit=2': {
      status: 200,
      body: { items: [aTask({ id: 'a' }), aTask({ id: 'b' })], nextCursor: 'n/1' },
    },
    '/v1/tasks?queue=mail&limit=2&cursor=n%2F1': {
      status: 200,
      body: { items: [aTask({ id: 'c' })], nextCursor: null },
    },
  };
  const script = ({ url }: Seen) => pages[url] ?? problem(404, 'not-found');

  it('is the first page when awaited', async () => {
    const { client, seen } = await clientOf(script);
    const page = await client.list({ queue: 'mail', limit: 2 });
    expect(page.items.map((task) => task.id)).toEqual(['a', 'b']);
    expect(page.nextCursor).toBe('n/1');
    expect(seen).toHaveLength(1);
  });

  it('is every item of every page when iterated', async () => {
    const { client, seen } = await clientOf(script);
    const ids: string[] = [];
    for await (const task of client.list({ queue: 'mail', limit: 2 })) ids.push(task.id);
    expect(ids).toEqual(['a', 'b', 'c']);
    expect(seen).toHaveLength(2);
  });

  it('fetches no page that is not reached', async () => {
    const { client, seen } = await clientOf(script);
    for await (const task of client.list({ queue: 'mail', limit: 2 })) if (task.id === 'b') break;
    expect(seen).toHaveLength(1);
  });
});

describe('waitFor()', () => {
  it.each(['succeeded', 'failed', 'cancelled'] as const)(
    'returns a task that is %s',
    async (state) => {
      const states = ['ready', 'leased', state] as const;
      const { client, seen } = await clientOf((_, n) => ({
        status: 200,
        body: aTask({ state: states[n] ?? 'ready' }),
      }));
      expect((await client.waitFor(aTask(), { pollMs: 1 })).state).toBe(state);
      expect(seen.map((request) => request.url)).toEqual(Array(3).fill(`/v1/tasks/${TASK_ID}`));
    },
  );

  it('throws an ErrandTimeoutError when the task does not end in time', async () => {
    const { client } = await clientOf(() => ({ status: 200, body: aTask({ state: 'leased' }) }));
    const waiting = client.waitFor(TASK_ID, { timeoutMs: 30, pollMs: 5 });
    await expect(waiting).rejects.toMatchObject({
      name: 'ErrandTimeoutError',
      code: 'timed-out',
      message: `Task ${TASK_ID} was to end within 30 ms, but is still leased`,
    });
  });

  it('looks ever less often', async () => {
    const { client, seen } = await clientOf(() => ({ status: 200, body: aTask() }));
    const options = { timeoutMs: 200, pollMs: 10, maxPollMs: 1_000 };
    await expect(client.waitFor(TASK_ID, options)).rejects.toThrow('still ready');
    expect(seen.length).toBeLessThan(9);
    expect(seen.length).toBeGreaterThan(3);
  });
});

describe('the other calls', () => {
  it.each<[string, (client: ErrandClient) => PromiseLike<unknown>, string]>([
    ['get', (c) => c.get(TASK_ID, { view: 'full' }), `GET /v1/tasks/${TASK_ID}?view=full`],
    ['attempts', (c) => c.attempts(TASK_ID), `GET /v1/tasks/${TASK_ID}/attempts`],
    ['cancel', (c) => c.cancel(TASK_ID), `POST /v1/tasks/${TASK_ID}/cancel`],
    ['run', (c) => c.run(TASK_ID), `POST /v1/tasks/${TASK_ID}/run`],
    ['retry', (c) => c.retry(TASK_ID), `POST /v1/tasks/${TASK_ID}/retry`],
    ['delete', (c) => c.delete(TASK_ID), `DELETE /v1/tasks/${TASK_ID}`],
    ['queues.put', (c) => c.queues.put('q'), 'PUT /v1/queues/q'],
    ['queues.get', (c) => c.queues.get('a/b'), 'GET /v1/queues/a%2Fb'],
    ['queues.patch', (c) => c.queues.patch('q', {}), 'PATCH /v1/queues/q'],
    ['queues.list', (c) => c.queues.list({ limit: 5 }), 'GET /v1/queues?limit=5'],
    [
      'queues.delete',
      (c) => c.queues.delete('q', { force: true }),
      'DELETE /v1/queues/q?force=true',
    ],
    ['calendars.put', (c) => c.calendars.put('a', UTC), 'PUT /v1/calendars/a'],
    ['calendars.get', (c) => c.calendars.get('a/b'), 'GET /v1/calendars/a%2Fb'],
    ['calendars.list', (c) => c.calendars.list({ limit: 5 }), 'GET /v1/calendars?limit=5'],
    ['calendars.delete', (c) => c.calendars.delete('a'), 'DELETE /v1/calendars/a'],
    ['dispatchers', (c) => c.dispatchers(), 'GET /v1/dispatchers'],
    ['queues.pause', (c) => c.queues.pause('q'), 'POST /v1/queues/q/pause'],
    ['queues.resume', (c) => c.queues.resume('q'), 'POST /v1/queues/q/resume'],
    ['queues.purge', (c) => c.queues.purge('q'), 'POST /v1/queues/q/purge'],
  ])('%s() asks for what the contract says', async (_, call, expected) => {
    const { client, seen } = await clientOf(() => ({ status: 200, body: aTask() }));
    await call(client);
    expect(`${seen[0]?.method} ${seen[0]?.url}`).toBe(expected);
  });

  it('delete() returns nothing on a 204', async () => {
    const { client } = await clientOf(() => ({ status: 204 }));
    expect(await client.delete(TASK_ID)).toBeUndefined();
  });
});

describe('output()', () => {
  it.each([
    ['attachment; filename="a \\"b\\".csv"', 'a "b".csv'],
    ["attachment; filename=x; filename*=UTF-8''%C3%A4.csv", 'ä.csv'],
    ['attachment; filename=plain.csv', 'plain.csv'],
    ['inline', null],
  ])('reads the file name of %s', async (disposition, fileName) => {
    const headers = { 'content-type': 'text/csv', 'content-disposition': disposition };
    const { client } = await clientOf(() => ({ status: 200, body: '[1]', headers }));
    const output = await client.output(TASK_ID);
    expect(output).toMatchObject({ contentType: 'text/csv', fileName });
    expect(output.text()).toBe('[1]');
    expect(output.json()).toEqual([1]);
    expect(output.bytes).toEqual(new TextEncoder().encode('[1]'));
  });
});
