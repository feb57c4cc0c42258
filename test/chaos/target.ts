import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import type { Random } from './random.ts';

/** How a task fares at the target: it succeeds, it does so at the second call, or it is to end as dead. */
export type Fate = 'succeeds' | 'fails-once' | 'dies';

/** One call, as the target saw it. */
export interface Arrival {
  /** The number of the task among all that were ever sent. */
  token: number;
  task: string;
  /** Lease id: the `jti` of the call's own token. */
  lease: string;
  /** By the token, in seconds. */
  issuedAt: number;
  atMs: number;
  /** Whole wall-clock milliseconds. */
  wallMs: number;
  /** What was decided to answer; `null` until then. */
  status: number | null;
}

export interface ChaosTarget {
  urlOf(token: number, fate: Fate): string;
  arrivals: Arrival[];
  /** Calls that have not been answered. */
  inFlight(): number;
  /** The highest token that ever arrived; −1 before the first. */
  newest(): number;
  /** How long a call is worked on from now on, in milliseconds. */
  workMs: { least: number; most: number };
  close(): Promise<void>;
}

/** Records every call before it does anything else, so that nothing that came goes unseen. */
export async function startTarget(random: Random): Promise<ChaosTarget> {
  const calls = new Map<number, number>();
  let open = 0;
  let newest = -1;

  const server = createServer((request, response) => {
    const arrival = record(request);
    target.arrivals.push(arrival);
    newest = Math.max(newest, arrival.token);
    open += 1;
    response.once('close', () => {
      open -= 1;
    });
    request.resume();
    const { least, most } = target.workMs;
    setTimeout(() => answer(arrival, fateOf(request), response), random.between(least, most));
  });

  function answer(arrival: Arrival, fate: Fate, response: ServerResponse): void {
    const call = (calls.get(arrival.token) ?? 0) + 1;
    calls.set(arrival.token, call);
    if (fate === 'dies') response.setHeader('errand-outcome', 'failed');
    arrival.status = fate === 'fails-once' && call === 1 ? 500 : 200;
    response.writeHead(arrival.status).end();
  }

  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const { port } = server.address() as AddressInfo;
  const target: ChaosTarget = {
    urlOf: (token, fate) => `http://127.0.0.1:${port}/${fate}/${token}`,
    arrivals: [],
    inFlight: () => open,
    newest: () => newest,
    workMs: { least: 1, most: 20 },
    async close() {
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
    },
  };
  return target;
}

function record(request: IncomingMessage): Arrival {
  const { headers, url = '' } = request;
  const [, payload = ''] = String(headers['errand-authorization']).split('.');
  const { jti, iat } = JSON.parse(Buffer.from(payload, 'base64url').toString());
  return {
    token: Number(url.split('/')[2]),
    task: String(headers['errand-task-id']),
    lease: jti,
    issuedAt: iat,
    atMs: performance.now(),
    wallMs: Date.now(),
    status: null,
  };
}

function fateOf({ url = '' }: IncomingMessage): Fate {
  return url.split('/')[1] as Fate;
}
