import type { Server } from 'node:http';
import { text } from 'node:stream/consumers';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { createCleanup } from '../../examples/demo/cleanup.ts';
import { createService, freePort, type Service } from '../../examples/demo/service.ts';
import { createClient, type ErrandClient } from '../../src/client/index.ts';
import { makeTree } from '../demo/tree.ts';
import { close, listen, serverUrl } from '../support/sign.ts';

const cleanup = createCleanup();
let service: Service;
let client: ErrandClient;
let worker: Server;
let url: string;

/** The worker answers with what it was sent, as a file; `no` it refuses. */
beforeAll(async () => {
  const folder = await makeTree([]);
  cleanup.add(folder.remove);
  worker = await listen(async (request, response) => {
    const sent = await text(request);
    const headers = {
      'content-type': 'text/plain',
      'content-disposition': 'inline; filename=a.txt',
    };
    response.writeHead(sent === 'no' ? 500 : 200, headers).end(`got ${sent}`);
  });
  cleanup.add(() => close(worker));
  url = serverUrl(worker);
  service = createService(folder.root, await freePort());
  cleanup.add(service.stop);
  await service.start();
  client = createClient({ url: service.url, key: service.key });
});
afterAll(() => cleanup.run());

describe('the client with the service', () => {
  it('enqueues a task, waits for it, and reads its attempts and output', async () => {
    const task = await client.enqueue('default', { url, json: { a: 1 }, name: 'first' });
    const ended = await client.waitFor(task, { timeoutMs: 20_000 });
    expect(ended).toMatchObject({ id: task.id, state: 'succeeded', attempts: 1, lastStatus: 200 });
    expect(await client.get(task.id, { view: 'full' })).toMatchObject({ payload: '{"a":1}' });

    const { items } = await client.attempts(task.id);
    expect(items).toMatchObject([{ outcome: 'responded', settlement: 'succeed', status: 200 }]);
    const output = await client.output(task.id);
    expect(output).toMatchObject({ contentType: 'text/plain', fileName: 'a.txt' });
    expect(output.text()).toBe('got {"a":1}');
    await client.delete(task.id);
    await expect(client.get(task.id)).rejects.toMatchObject({ code: 'not-found', status: 404 });
  });

  it('enqueues once under one Idempotency-Key, and refuses another body under it', async () => {
    const options = { idempotencyKey: 'order-7' };
    const first = await client.enqueue('default', { url, payload: 'x' }, options);
    expect((await client.enqueue('default', { url, payload: 'x' }, options)).id).toBe(first.id);
    const other = client.enqueue('default', { url, payload: 'y' }, options);
    await expect(other).rejects.toMatchObject({ code: 'idempotency-mismatch', status: 422 });
  });

  it('enqueueBatch() gives each task its own answer', async () => {
    const later = { url, delaySeconds: 600 };
    const [a, b, c] = await client.enqueueBatch('default', [
      { ...later, name: 'twice' },
      { ...later, name: 'twice' },
      { ...later, url: 'bad' },
    ]);
    expect(a).toMatchObject({ status: 201, task: { name: 'twice', state: 'scheduled' } });
    expect(b).toMatchObject({ status: 409, problem: { code: 'name-taken', taskId: a?.task?.id } });
    expect(c).toMatchObject({ status: 400, problem: { code: 'invalid-request' } });
  });

  it('manages calendars, and tells of a queue that keeps to one and of who serves it', async () => {
    const made = await client.calendars.put('office', { timeZone: 'Europe/Berlin' });
    expect(made).toMatchObject({ name: 'office', weekend: ['sat', 'sun'], holidays: [] });
    expect(await client.calendars.get('office')).toEqual(made);
    expect((await client.calendars.list()).items).toEqual([made]);
    await client.queues.put('kept', { businessDaysOnly: 'office', flow: { ordered: true } });
    await client.queues.patch('kept', { flow: null });
    const { flow, status } = await client.queues.get('kept');
    expect([flow, status.isServed]).toEqual([null, true]);
    const inUse = client.calendars.delete('office');
    await expect(inUse).rejects.toMatchObject({ code: 'calendar-in-use', status: 409 });
    await client.queues.delete('kept');
    await client.calendars.delete('office');
    const [dispatcher] = await client.dispatchers();
    expect(dispatcher).toMatchObject({ pool: 'default', shards: expect.arrayContaining([0, 63]) });
  });

  it('manages a queue: put, patch, pause, list, cancel, run, retry, purge, delete', async () => {
    const once = { maxAttempts: 1 };
    expect(await client.queues.put('mine', { retry: once })).toMatchObject({ retry: once });
    const patched = await client.queues.patch('mine', { rateLimits: { maxBurstSize: 7 } });
    expect(patched).toMatchObject({ retry: once, rateLimits: { maxBurstSize: 7 } });
    expect((await client.queues.pause('mine')).paused).toBe(true);

    const dropped = await client.enqueue('mine', { url, payload: 'drop', owner: 'ada' });
    expect((await client.queues.get('mine')).stats).toMatchObject({ ready: 1, leased: 0 });
    expect((await client.list({ queue: 'mine', owner: 'ada' })).items).toMatchObject([dropped]);
    await client.queues.purge('mine');
    await expect(client.get(dropped.id)).rejects.toMatchObject({ status: 404 });
    expect((await client.queues.resume('mine')).paused).toBe(false);
    const refused = await client.enqueue('mine', { url, payload: 'no', delaySeconds: 600 });
    await client.run(refused.id);
    expect(await client.waitFor(refused, { timeoutMs: 20_000 })).toMatchObject({
      state: 'failed',
      attempts: 1,
    });
    await client.queues.pause('mine'); // Else it may be in flight before it is cancelled.
    await client.retry(refused.id);
    expect(await client.cancel(refused.id)).toMatchObject({ state: 'cancelled' });

    await client.queues.delete('mine');
    const names: string[] = [];
    for await (const queue of client.queues.list({ limit: 1 })) names.push(queue.name);
    expect(names).toEqual(['default']);
  });

  it('iterates over more tasks than a page holds', async () => {
    await client.queues.put('many');
    const tasks = Array.from({ length: 25 }, () => ({ url, delaySeconds: 600 }));
    await client.enqueueBatch('many', tasks);
    const ids = new Set<string>();
    for await (const task of client.list({ queue: 'many', limit: 10 })) ids.add(task.id);
    expect(ids.size).toBe(25);
  });
});
