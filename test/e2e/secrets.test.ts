import { randomBytes } from 'node:crypto';
import postgres from 'postgres';
import { afterAll, beforeAll, describe, expect, inject, test } from 'vitest';
import type { Answer as Told } from '../api/api-fixture.ts';
import { type Names, OPERATIONS, perform } from '../api/every-operation.ts';
import { createTestDatabase, type TestDatabase } from '../support/database.ts';
import { startTarget, type Target } from '../support/target.ts';
import { startTcpProxy, type TcpProxy } from '../support/tcp-proxy.ts';
import { until } from '../support/until.ts';
import { killHard, type Service, startService } from './service.ts';

const secret = (what: string) => `${what}-${randomBytes(16).toString('hex')}`;

/** What must never be told, by what it is. */
const SECRETS: Record<string, string> = {
  'admin key': secret('admin'),
  'password of the database': secret('password'),
  payload: secret('payload'),
  'header of a task': secret('header'),
  'password in a URL': secret('userinfo'),
  'body of an answer': secret('answer'),
  'key that is none': `errand_0123456789abcdef_${randomBytes(32).toString('hex')}`,
};
/** What an answer of the API is there to tell, by what was asked. */
const TOLD: [RegExp, string[]][] = [
  [/view=full/, ['payload']],
  [/\/v1\/(tasks|queues\/default\/tasks)/, ['header of a task', 'body of an answer']],
];

let database: TestDatabase;
let proxy: TcpProxy;
let target: Target;
let service: Service;
/** A login of its own, since a trusted one needs no password. */
const LOGIN = `errand_${randomBytes(6).toString('hex')}`;
const answers: { what: string; status: number; text: string }[] = [];

beforeAll(async () => {
  database = await createTestDatabase();
  proxy = await startTcpProxy(database.url);
  target = await startTarget();
});
afterAll(async () => {
  await killHard(service);
  await target.close();
  await proxy.close();
  await database.drop();
  await administer(`drop role if exists ${LOGIN}`);
});

describe('a whole run of errand serve', () => {
  test('tells no secret in its logs, its errors, or where it was not asked for it', async () => {
    service = await startService(await urlWithPassword(), {
      ERRAND_ADMIN_KEY: SECRETS['admin key']!,
      ERRAND_LOG_LEVEL: 'trace',
      ERRAND_TAKEOVER_SECONDS: '2',
    });
    const names = await makeOneOfEach();
    await dispatchToBadTargets();
    await callEverything(names);
    await sendBadInput();
    await loseTheDatabase(names);
    await service.end('SIGTERM');

    const said = service.process.stdout() + service.process.stderr();
    expect(said).toContain('stopping');
    expect(namesIn(said)).toEqual([]);
    expect(new Set(answers.map(({ status }) => status))).toContain(503);
    for (const { what, status, text } of answers) {
      const isAsked = ([pattern]: [RegExp, string[]]) => status < 300 && pattern.test(what);
      const allowed = TOLD.filter(isAsked).flatMap(([, names]) => names);
      const told = namesIn(text).filter((name) => !allowed.includes(name));
      expect({ what, status, told }).toEqual({ what, status, told: [] });
    }
  }, 60_000);
});

function namesIn(text: string): string[] {
  return Object.keys(SECRETS).filter((name) => text.includes(SECRETS[name]!));
}

async function urlWithPassword(): Promise<string> {
  await administer(
    `create role ${LOGIN} superuser login password '${SECRETS['password of the database']}'`,
  );
  const url = new URL(proxy.url);
  url.username = LOGIN;
  url.password = SECRETS['password of the database']!;
  return url.href;
}

async function administer(statement: string): Promise<void> {
  const sql = postgres(inject('postgresUrl'), { max: 1, onnotice: () => {} });
  await sql.unsafe(statement);
  await sql.end();
}

/** Sends a request and keeps what was answered, unless that is where a secret is handed out. */
async function send(
  method: string,
  path: string,
  { body, headers = {} }: { body?: unknown; headers?: Record<string, string | null> } = {},
  isKept = true,
): Promise<Told> {
  const all = { authorization: `Bearer ${SECRETS['admin key']}`, ...headers };
  const answer = await fetch(service.url + path, {
    method,
    headers: { ...(body !== undefined && { 'content-type': 'application/json' }), ...all } as never,
    body: body === undefined ? null : typeof body === 'string' ? body : JSON.stringify(body),
  });
  const text = await answer.text();
  const whole = text + JSON.stringify([...answer.headers]);
  if (isKept) answers.push({ what: `${method} ${path}`, status: answer.status, text: whole });
  return { status: answer.status, headers: answer.headers, body: text && parse(text) };
}

function parse(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return text; // An output is whatever the target said.
  }
}

async function makeOneOfEach(): Promise<Names> {
  const make = (path: string, body?: object) => send('POST', path, { body }, false);
  const key = (await make('/v1/keys', { scopes: ['admin'] })).body;
  const webhook = (await make('/v1/queues/default/webhook-secrets')).body;
  SECRETS['API key'] = key.key;
  SECRETS['webhook secret'] = webhook.secret;
  await send('PUT', '/v1/calendars/days', { body: { timeZone: 'UTC' } });
  const { body: task } = await send('POST', '/v1/queues/default/tasks', { body: taskTo('/ok') });
  const ids = { taskId: task.id, keyId: key.id, secretId: webhook.id };
  return { queue: 'default', calendar: 'days', project: 'default', ...ids };
}

/** A task with secrets wherever it may have some. */
function taskTo(path: string) {
  return {
    url: target.url + path,
    payload: SECRETS.payload,
    headers: { 'x-secret': SECRETS['header of a task'] },
    retry: { maxAttempts: 2, minBackoffSeconds: 0.1, maxBackoffSeconds: 0.1 },
  };
}

/** Targets that fail in each way, and say what they were sent. */
async function dispatchToBadTargets(): Promise<void> {
  const progressed = Promise.withResolvers<void>();
  target.answer = async ({ path, headers }, response) => {
    const token = String(headers['errand-authorization']).replace('Bearer ', '');
    SECRETS[`token of ${path}`] = token;
    SECRETS[`signature of ${path}`] = String(headers['webhook-signature']);
    const said = SECRETS['body of an answer'];
    if (path === '/reset') return void response.destroy();
    if (path === '/continue') {
      response.setHeader('errand-outcome', 'continue');
      return void response.end(`{"payload": ${said}`);
    }
    if (path === '/progress') {
      const url = `/v1/tasks/${headers['errand-task-id']}/progress`;
      for (const key of [token, `${token}x`]) {
        const authorization = `Bearer ${key}`;
        await send('PUT', url, { body: { progress: 5 }, headers: { authorization } });
      }
      progressed.resolve();
    }
    if (path === '/failed') response.setHeader('errand-outcome', 'failed');
    response.statusCode = path === '/500' ? 500 : 200;
    response.end(said);
  };
  const paths = ['/500', '/reset', '/continue', '/progress', '/failed'];
  const ids: string[] = [];
  for (const path of paths) {
    const { body } = await send('POST', '/v1/queues/default/tasks', { body: taskTo(path) });
    ids.push(body.id);
  }
  const closed = { ...taskTo('/'), url: 'http://127.0.0.1:9/' };
  await send('POST', '/v1/queues/default/tasks/batch', {
    body: { tasks: [closed, taskTo('/ok')] },
  });
  await progressed.promise;
  for (const id of ids) {
    await until(async () => {
      const { body } = await send('GET', `/v1/tasks/${id}`);
      return body.state === 'succeeded' || body.state === 'failed';
    });
    const { body } = await send('GET', `/v1/tasks/${id}?view=full`);
    expect(body.payload).toBe(SECRETS.payload);
    await send('GET', `/v1/tasks/${id}/attempts`);
  }
}

/** Each operation with good keys, bad ones, and none. */
async function callEverything(names: Names): Promise<void> {
  const admin = SECRETS['admin key']!;
  const keys = [
    SECRETS['API key']!,
    SECRETS['key that is none']!,
    `${admin}x`,
    SECRETS['token of /ok']!,
  ];
  for (const key of keys) {
    for (const operation of OPERATIONS) {
      const isMade = operation.id === 'createKey' || operation.id === 'createWebhookSecret';
      await perform((...call) => send(...call, !isMade), operation, names, key);
    }
  }
  for (const path of ['/metrics', '/openapi.json', '/docs', '/.well-known/jwks.json', '/readyz']) {
    await send('GET', path);
  }
}

/** What is wrong stands where the secrets do. */
async function sendBadInput(): Promise<void> {
  const payload = SECRETS.payload!;
  const url = `http://me:${SECRETS['password in a URL']}@127.0.0.1/`;
  const good = taskTo('/ok');
  const bodies: unknown[] = [
    { ...good, url },
    { ...good, url: `${url}${'x'.repeat(3_000)}` },
    { ...good, payload: { payload } },
    { ...good, payload: undefined, paylod: payload },
    { ...good, payloadBase64: payload },
    { ...good, headers: { 'x secret': payload } },
    { ...good, headers: { 'x-secret': `${payload}\r\n` } },
    { ...good, headers: payload },
    { ...good, contentType: 'a/b', headers: { 'content-type': payload } },
    `{"payload": "${payload}`,
    payload,
  ];
  for (const body of bodies) {
    await send('POST', '/v1/queues/default/tasks', { body });
    const batch = typeof body === 'string' ? `{"tasks": [${body}` : { tasks: [body] };
    await send('POST', '/v1/queues/default/tasks/batch', { body: batch });
  }
  await send('PUT', '/v1/queues/other', { body: { target: { baseUrl: url } } });
  await send('PUT', '/v1/queues/other', {
    body: { target: { headers: { 'x-secret': `${payload}\n` } } },
  });
  await send('POST', '/v1/queues/default/tasks', {
    body: good,
    headers: { 'content-type': 'text/plain' },
  });
}

async function loseTheDatabase(names: Names): Promise<void> {
  const key = SECRETS['API key']!;
  await send('POST', '/v1/queues/default/tasks', { body: { ...taskTo('/ok'), delaySeconds: 1 } });
  proxy.cut();
  for (const operation of OPERATIONS) {
    await perform((...call) => send(...call), operation, names, key);
  }
  await send('GET', '/readyz');
  proxy.mend();
  await until(async () => (await send('GET', '/readyz')).status === 200);
}
