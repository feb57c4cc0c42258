import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';

export interface Arrival {
  method: string;
  path: string;
  headers: IncomingMessage['headers'];
  body: Buffer;
  atMs: number;
}

export type Answer = (arrival: Arrival, response: ServerResponse) => void | Promise<void>;

export interface Target {
  url: string;
  arrivals: Arrival[];
  /** Calls in flight now, and the most there ever were. */
  inFlight: { now: number; most: number };
  /** How it answers from now on; default: 200 with no body. */
  answer: Answer;
  /** Resolves when this many requests have arrived. */
  arrived(count: number): Promise<Arrival[]>;
  close(): Promise<void>;
}

/** A real HTTP server on a free loopback port that records what it is sent. */
export async function startTarget(
  answer: Answer = (_, response) => void response.end(),
): Promise<Target> {
  const waiting: { count: number; resolve: () => void }[] = [];
  const server = createServer(async (request, response) => {
    const chunks: Buffer[] = [];
    for await (const chunk of request) chunks.push(chunk);
    const arrival: Arrival = {
      method: request.method!,
      path: request.url!,
      headers: request.headers,
      body: Buffer.concat(chunks),
      atMs: performance.now(),
    };
    target.arrivals.push(arrival);
    target.inFlight.now += 1;
    target.inFlight.most = Math.max(target.inFlight.most, target.inFlight.now);
    response.once('close', () => {
      target.inFlight.now -= 1;
    });
    for (const entry of waiting.splice(0)) {
      if (target.arrivals.length >= entry.count) entry.resolve();
      else waiting.push(entry);
    }
    await target.answer(arrival, response);
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const target: Target = {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    arrivals: [],
    inFlight: { now: 0, most: 0 },
    answer,
    async arrived(count) {
      if (target.arrivals.length < count) {
        await new Promise<void>((resolve) => waiting.push({ count, resolve }));
      }
      return target.arrivals;
    },
    async close() {
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
    },
  };
  return target;
}
