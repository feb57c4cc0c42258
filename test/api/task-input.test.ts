import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { type ApiFixture, createApiFixture, expectProblem } from './api-fixture.ts';

const PATH = '/v1/queues/default/tasks';
const url = 'https://worker.example/';
let fixture: ApiFixture;

beforeAll(async () => {
  fixture = await createApiFixture();
});
afterAll(() => fixture.close());

const inDays = (days: number) => new Date(Date.now() + days * 86_400_000).toISOString();
const many = (count: number) =>
  Object.fromEntries(Array.from({ length: count }, (_, i) => [`X-${i}`, 'v']));

/** What is wrong, and the pointer that says where. */
const BAD: [unknown, string][] = [
  [[], ''],
  ['text', ''],
  [{}, '/url'],
  [{ url: 1 }, '/url'],
  [{ url: '' }, '/url'],
  [{ url: '/path' }, '/url'],
  [{ url: 'worker.example' }, '/url'],
  [{ url: 'ftp://worker.example/' }, '/url'],
  [{ url: 'javascript:alert(1)' }, '/url'],
  [{ url: 'https://' }, '/url'],
  [{ url: 'https://a b/' }, '/url'],
  [{ url: 'https://a/\nb' }, '/url'],
  [{ url: 'https://a/\0' }, '/url'],
  [{ url: 'https://a/\ud800' }, '/url'],
  [{ url: 'https://user:secret@worker.example/' }, '/url'],
  [{ url: 'https://user@worker.example/' }, '/url'],
  [{ url: `${url}${'x'.repeat(2083)}` }, '/url'],
  [{ url, payload: 1 }, '/payload'],
  [{ url, payload: { a: 1 } }, '/payload'],
  [{ url, payload: '\ud800' }, '/payload'],
  [{ url, payload: 'x'.repeat(1024 * 1024 + 1) }, '/payload'],
  [{ url, payload: 'ü'.repeat(512 * 1024 + 1) }, '/payload'],
  [{ url, payloadBase64: 'AAA' }, '/payloadBase64'],
  [{ url, payloadBase64: 'AA AA' }, '/payloadBase64'],
  [{ url, payloadBase64: '_-8=' }, '/payloadBase64'],
  [{ url, payloadBase64: 'AB==' }, '/payloadBase64'],
  [{ url, payloadBase64: Buffer.alloc(1024 * 1024 + 1).toString('base64') }, '/payloadBase64'],
  [{ url, payload: 'a', payloadBase64: 'AAAA' }, '/payloadBase64'],
  [{ url, method: 'GET', payload: '' }, '/payload'],
  [{ url, method: 'HEAD', payloadBase64: 'AAAA' }, '/payloadBase64'],
  [{ url, method: 'post' }, '/method'],
  [{ url, method: 'CONNECT' }, '/method'],
  [{ url, contentType: 'json' }, '/contentType'],
  [{ url, contentType: 'text/plain\r\nX: y' }, '/contentType'],
  [{ url, contentType: 'text/plain; charset' }, '/contentType'],
  [{ url, contentType: `text/${'x'.repeat(255)}` }, '/contentType'],
  [{ url, contentType: 'a/b', headers: { 'Content-Type': 'a/c' } }, '/headers/Content-Type'],
  [{ url, headers: [] }, '/headers'],
  [{ url, headers: { 'a b': 'x' } }, '/headers/a b'],
  [{ url, headers: { 'a/b': 'x' } }, '/headers/a~1b'],
  [{ url, headers: { '': 'x' } }, '/headers/'],
  [{ url, headers: { a: 1 } }, '/headers/a'],
  [{ url, headers: { a: 'x\r\ny: z' } }, '/headers/a'],
  [{ url, headers: { a: 'x\0' } }, '/headers/a'],
  [{ url, headers: { a: '😀' } }, '/headers/a'],
  [{ url, headers: { Host: 'x' } }, '/headers/Host'],
  [{ url, headers: { 'errand-task-id': 'x' } }, '/headers/errand-task-id'],
  [{ url, headers: { 'Transfer-Encoding': 'chunked' } }, '/headers/Transfer-Encoding'],
  [{ url, headers: { 'Proxy-Authorization': 'x' } }, '/headers/Proxy-Authorization'],
  [{ url, headers: { a: '1', A: '2' } }, '/headers'],
  [{ url, headers: many(65) }, '/headers'],
  [{ url, headers: { a: 'x'.repeat(16 * 1024) } }, '/headers'],
  [{ url, name: '' }, '/name'],
  [{ url, name: 'a b' }, '/name'],
  [{ url, name: 'a\n' }, '/name'],
  [{ url, name: 'x'.repeat(501) }, '/name'],
  [{ url, scheduleTime: '2030-01-01' }, '/scheduleTime'],
  [{ url, scheduleTime: '2030-01-01T00:00:00' }, '/scheduleTime'],
  [{ url, scheduleTime: '2030-02-30T00:00:00Z' }, '/scheduleTime'],
  [{ url, scheduleTime: '2030-01-01T24:00:00Z' }, '/scheduleTime'],
  [{ url, scheduleTime: '2030-01-01T00:00:00+24:00' }, '/scheduleTime'],
  [{ url, scheduleTime: '1969-12-31T23:59:59Z' }, '/scheduleTime'],
  [{ url, scheduleTime: '0000-01-01T00:00:00Z' }, '/scheduleTime'],
  [{ url, scheduleTime: '9999-12-31T23:59:59Z' }, '/scheduleTime'],
  [{ url, scheduleTime: inDays(3651) }, '/scheduleTime'],
  [{ url, scheduleTime: 1_900_000_000 }, '/scheduleTime'],
  [{ url, scheduleTime: inDays(1), delaySeconds: 1 }, '/delaySeconds'],
  [{ url, delaySeconds: -1 }, '/delaySeconds'],
  [{ url, delaySeconds: '1' }, '/delaySeconds'],
  [{ url, delaySeconds: 315_360_001 }, '/delaySeconds'],
  [{ url, expireTime: 'tomorrow' }, '/expireTime'],
  [{ url, expireTime: inDays(3651) }, '/expireTime'],
  [{ url, scheduleTime: inDays(2), expireTime: inDays(1) }, '/expireTime'],
  [{ url, priority: 1001 }, '/priority'],
  [{ url, priority: -1001 }, '/priority'],
  [{ url, priority: 0.5 }, '/priority'],
  [{ url, flowKey: '' }, '/flowKey'],
  [{ url, flowKey: 'a\0' }, '/flowKey'],
  [{ url, retry: { maxAttempts: 0 } }, '/retry/maxAttempts'],
  [{ url, retry: { maxAttempts: -2 } }, '/retry/maxAttempts'],
  [{ url, retry: { times: 3 } }, '/retry/times'],
  [{ url, retry: { minBackoffSeconds: 5, maxBackoffSeconds: 4 } }, '/retry/maxBackoffSeconds'],
  [{ url, retry: { minBackoffSeconds: 3601 } }, '/retry/minBackoffSeconds'],
  [{ url, retry: { maxBackoffSeconds: 0.05 } }, '/retry/maxBackoffSeconds'],
  [{ url, dispatchDeadlineSeconds: 0.5 }, '/dispatchDeadlineSeconds'],
  [{ url, dispatchDeadlineSeconds: 86_401 }, '/dispatchDeadlineSeconds'],
  [{ url, retentionSeconds: -1 }, '/retentionSeconds'],
  [{ url, retentionSeconds: 31_536_001 }, '/retentionSeconds'],
  [{ url, owner: '' }, '/owner'],
  [{ url, owner: 'x'.repeat(201) }, '/owner'],
  [{ url, owner: 'a\0b' }, '/owner'],
  [{ url, owner: '\udc00' }, '/owner'],
  [{ url, labels: { a: 1 } }, '/labels/a'],
  [{ url, labels: { a: 'x'.repeat(256) } }, '/labels/a'],
  [{ url, labels: { a: '\0' } }, '/labels/a'],
  [{ url, labels: { '': 'x' } }, '/labels/'],
  [{ url, labels: { 'a\0': 'x' } }, '/labels/a\0'],
  [{ url, labels: { ['x'.repeat(64)]: 'x' } }, `/labels/${'x'.repeat(64)}`],
  [{ url, labels: many(65) }, '/labels'],
  [{ url, type: 'email' }, '/type'],
  [{ url, onSuccess: {} }, '/onSuccess'],
  [{ url, onFailure: {} }, '/onFailure'],
  [{ url, Url: url }, '/Url'],
  [{ url, name: null }, '/name'],
];

describe('The body of a new task', () => {
  it.each(BAD)('%j is refused at %j', async (body, pointer) => {
    const answer = await fixture.call('POST', PATH, { body: JSON.stringify(body) });
    const { errors } = expectProblem(answer, 'invalid-request');
    expect(errors.map((error: { pointer: string }) => error.pointer)).toEqual([pointer]);
    expect(errors[0]).toEqual({
      pointer,
      expected: expect.stringMatching(/./),
      received: expect.stringMatching(/./),
    });
  });

  it('is refused in a batch by the same rules, with pointers into the batch', async () => {
    const answer = await fixture.call('POST', `${PATH}/batch`, {
      body: JSON.stringify({ tasks: BAD.map(([body]) => body).filter(isSmall) }),
    });
    const wanted = BAD.filter(([body]) => isSmall(body)).map(([, pointer]) => pointer);
    expect(answer.status).toBe(200);
    for (const [index, item] of answer.body.items.entries()) {
      expect(item.status).toBe(400);
      expect(item.problem.errors[0].pointer).toBe(`/tasks/${index}${wanted[index]}`);
    }
  });

  it('says everything that is wrong at once', async () => {
    const body = { url: 1, priority: 'x', retry: { maxAttempts: 0 }, nonsense: true };
    const { errors } = expectProblem(await fixture.call('POST', PATH, { body }), 'invalid-request');
    expect(errors).toHaveLength(4);
  });

  it('is refused when it is missing, no JSON, or of another type', async () => {
    const send = (body?: string, type: string | null = 'application/json') =>
      fixture.call('POST', PATH, { body, headers: { 'content-type': type } });
    expectProblem(await send('{"url":'), 'invalid-json');
    expectProblem(await send('', 'application/json'), 'invalid-json');
    expectProblem(
      await send('url=x', 'application/x-www-form-urlencoded'),
      'unsupported-media-type',
    );
    expect((await send(undefined, null)).status).toBeGreaterThanOrEqual(400);
    expect((await send(undefined, null)).status).toBeLessThan(500);
  });

  it('is refused when it is larger than 2 MiB', async () => {
    const body = { url, payload: 'x'.repeat(2 * 1024 * 1024) };
    expectProblem(await fixture.call('POST', PATH, { body }), 'body-too-large');
  });
});

function isSmall(body: unknown): boolean {
  return JSON.stringify(body).length < 100_000;
}
