import { generateKeyPairSync, hash, type KeyObject, sign } from 'node:crypto';
import { Agent, type Dispatcher } from 'undici';
import type { RowSettings, RowVerbs } from '../row.ts';
import { claimsOf, headersOf, IN_FLIGHT, newId, PAYLOAD } from '../work.ts';

/**
 * The same calls as quickly as we can make them, without a queue: undici's dispatch-level handlers and
 * node:crypto's signing on its thread pool. How far a queue stays behind this is what the queue costs.
 */
export async function openRow({ targetUrl }: RowSettings): Promise<RowVerbs> {
  const agent = new Agent({ connections: IN_FLIGHT, pipelining: 1 });
  const { privateKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
  const url = new URL(targetUrl);
  return { drain: (tasks) => callAll(agent, privateKey, url, tasks) };
}

function callAll(agent: Agent, key: KeyObject, url: URL, tasks: number): Promise<void> {
  const { promise, resolve, reject } = Promise.withResolvers<void>();
  const { origin, pathname: path } = url;
  let started = 0;
  let ended = 0;

  function next(): void {
    if (started === tasks) return;
    started += 1;
    const taskId = newId();
    signToken(key, url, taskId, (error, token) => {
      const headers = headersOf(taskId, token);
      if (error) reject(error);
      else agent.dispatch({ origin, path, method: 'POST', headers, body: PAYLOAD }, handler());
    });
  }

  const handler = () =>
    createHandler((error) => {
      ended += 1;
      if (error) reject(error);
      else if (ended === tasks) resolve();
      else next();
    });

  for (let lane = 0; lane < IN_FLIGHT; lane += 1) next();
  return promise;
}

const HEADER = base64url({ alg: 'ES256', typ: 'JWT', kid: 'bench' });

function signToken(
  key: KeyObject,
  url: URL,
  taskId: string,
  done: (error: Error | null, token: string) => void,
): void {
  const claims = claimsOf(url, taskId, hash('sha256', PAYLOAD, 'base64url'));
  const signed = `${HEADER}.${base64url(claims)}`;
  sign('sha256', Buffer.from(signed), { key, dsaEncoding: 'ieee-p1363' }, (error, signature) =>
    done(error, error ? '' : `${signed}.${signature.toString('base64url')}`),
  );
}

function base64url(value: object): string {
  return Buffer.from(JSON.stringify(value)).toString('base64url');
}

function createHandler(onEnd: (error: Error | null) => void): Dispatcher.DispatchHandler {
  let status = 0;
  return {
    onRequestStart() {},
    onResponseStart(_, statusCode) {
      status = statusCode;
    },
    onResponseData() {},
    onResponseEnd() {
      onEnd(status === 200 ? null : new Error(`Expected 200, got ${status}`));
    },
    onResponseError(_, error) {
      onEnd(error);
    },
  };
}
