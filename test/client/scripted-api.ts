import type { IncomingHttpHeaders } from 'node:http';
import { text } from 'node:stream/consumers';
import type { Task } from '../../src/client/index.ts';
import { close, listen, serverUrl } from '../support/sign.ts';

/** A request as the server saw it. */
export interface Seen {
  method: string;
  /** Path and query. */
  url: string;
  headers: IncomingHttpHeaders;
  body: unknown;
}

/** What to answer; `drop` hangs up, `hang` never answers. */
export type Reply = Answer | 'drop' | 'hang';

export interface Answer {
  status: number;
  body?: unknown;
  headers?: Record<string, string>;
}

export interface ScriptedApi {
  url: string;
  seen: Seen[];
  close(): Promise<void>;
}

/** A real server that answers the n-th request (from 0) as `script` says. */
export async function startScriptedApi(
  script: (request: Seen, n: number) => Reply,
): Promise<ScriptedApi> {
  const seen: Seen[] = [];
  const server = await listen(async (incoming, outgoing) => {
    const { method = '', url = '', headers } = incoming;
    const sent = await text(incoming);
    const request = { method, url, headers, body: sent === '' ? undefined : JSON.parse(sent) };
    const reply = script(request, seen.push(request) - 1);
    if (reply === 'hang') return;
    if (reply === 'drop') return incoming.socket.destroy();
    const { status, body, headers: extra } = reply;
    const type = status < 400 ? 'application/json' : 'application/problem+json';
    outgoing.writeHead(status, { 'content-type': type, ...extra });
    outgoing.end(typeof body === 'string' ? body : JSON.stringify(body));
  });
  return { url: serverUrl(server), seen, close: () => close(server) };
}

export function problem(status: number, code: string, more: object = {}): Answer {
  const body = { type: 'about:blank', title: code, status, code, detail: `It is ${code}`, ...more };
  return { status, body };
}

export const TASK_ID = '0198c0de000070008000000000000001';

export function aTask(fields: Partial<Task> = {}): Task {
  return {
    id: TASK_ID,
    queue: 'mail',
    name: null,
    state: 'ready',
    url: 'http://127.0.0.1:9/x',
    method: 'POST',
    headers: {},
    contentType: 'application/json',
    priority: 0,
    flowKey: null,
    retry: {},
    dispatchDeadlineSeconds: null,
    retentionSeconds: null,
    owner: null,
    labels: {},
    step: 0,
    attempts: 0,
    progress: null,
    createdAt: '2026-01-02T03:04:05.678Z',
    scheduledAt: '2026-01-02T03:04:05.678Z',
    expireTime: null,
    startedAt: null,
    finishedAt: null,
    lastStatus: null,
    reason: null,
    ...fields,
  };
}
