import type { AddressInfo, Server } from 'node:net';
import { afterEach } from 'vitest';
import { callTarget } from '../../src/dispatch/call-target.ts';
import { createTargetGuard } from '../../src/dispatch/guard.ts';
import { createPoster, type PosterOptions, type PostRequest } from '../../src/dispatch/post.ts';
import type { Answer } from '../../src/policy/answer.ts';
import { startRawServer } from '../support/raw-server.ts';
import { startTarget, type Answer as TargetAnswer } from '../support/target.ts';

export const cleanups: (() => Promise<unknown>)[] = [];

afterEach(async () => {
  for (const cleanUp of cleanups.splice(0).reverse()) await cleanUp();
});

export function startPoster(options: Partial<PosterOptions> = {}) {
  const guard = createTargetGuard({ allow: ['loopback'] });
  const poster = createPoster({ guard, connections: 256, ...options });
  cleanups.push(() => poster.close());
  return (url: string, request: Partial<PostRequest> = {}) =>
    poster.post({
      project: 'default',
      target: callTarget(url)!,
      method: 'POST',
      headers: {},
      body: Buffer.from('payload'),
      deadlineMs: 10_000,
      ...request,
    }) as Promise<Answer>;
}

export async function target(answer?: TargetAnswer) {
  const started = await startTarget(answer);
  cleanups.push(() => started.close());
  return started;
}

export async function raw(onRequest: Parameters<typeof startRawServer>[0]) {
  const started = await startRawServer(onRequest);
  cleanups.push(() => started.close());
  return started;
}

export async function listen(server: Server): Promise<number> {
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  cleanups.push(() => new Promise((resolve) => server.close(resolve)));
  return (server.address() as AddressInfo).port;
}

export async function timed<Result>(call: Promise<Result>): Promise<[Result, number]> {
  const startMs = performance.now();
  const result = await call;
  return [result, performance.now() - startMs];
}

/** A raw server that sends `line` first, and then `more` every few milliseconds until it is cut off. */
export function endless(first: string, more: string, everyMs: number) {
  return raw((socket) => {
    socket.write(first);
    const timer = setInterval(() => socket.writableNeedDrain || socket.write(more), everyMs);
    socket.on('close', () => clearInterval(timer));
  });
}

export const OK = 'HTTP/1.1 200 OK\r\n';
