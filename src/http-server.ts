import { createServer, type IncomingHttpHeaders } from 'node:http';
import type { AddressInfo } from 'node:net';
import { getRequestListener } from '@hono/node-server';
import { ErrandError } from './errors.ts';
import { createLoadShedder, type LoadLimits } from './load-shedding.ts';

export interface HttpServer {
  port: number;
  /** Serves requests with this from now on; before, they are answered 503. */
  handle(fetch: (request: Request) => Response | Promise<Response>): void;
  isDraining(): boolean;
  /** Readiness fails from now on; requests are still answered, and connections then closed. */
  drain(): void;
  /** Takes no more connections, lets requests in flight end, then cuts what is left. */
  close(): Promise<void>;
}

const CLOSE_GRACE_MS = 2_000;
/** Whoever watches the process, or verifies a token, is answered also when it is overloaded. */
const NEVER_SHED = /^\/(healthz|readyz|metrics|\.well-known\/|p\/)/;

/**
 * Binds host and port (0: any free one) before anything else is started, so that a clash is told first.
 * `limits`: see `defaultLoadLimits`.
 */
export async function listen(host: string, port: number, limits?: LoadLimits): Promise<HttpServer> {
  let handler: ((request: Request) => Response | Promise<Response>) | null = null;
  let isDraining = false;
  const load = createLoadShedder(limits);
  const server = createServer(
    { headersTimeout: 10_000, requestTimeout: 30_000 },
    getRequestListener((request, { incoming }) => {
      const answer = () => handler?.(request) ?? starting();
      if (NEVER_SHED.test(incoming.url ?? '')) return answer();
      return load.admit(bodyLength(incoming.headers), answer);
    }),
  );
  server.once('close', () => load.close());
  await new Promise<void>((resolve, reject) => {
    server.once('error', (error) => reject(explainListenError(error, host, port)));
    server.listen(port, host, resolve);
  });
  return {
    port: (server.address() as AddressInfo).port,
    handle(fetch) {
      handler = fetch;
    },
    isDraining: () => isDraining,
    drain() {
      isDraining = true;
    },
    async close() {
      const closed = new Promise<void>((resolve) => server.close(() => resolve()));
      server.closeIdleConnections();
      const cut = setTimeout(() => server.closeAllConnections(), CLOSE_GRACE_MS);
      await closed;
      clearTimeout(cut);
    },
  };
}

/** Null: it has a body that does not say how long it is. */
function bodyLength(headers: IncomingHttpHeaders): number | null {
  if (headers['content-length'] !== undefined) return Number(headers['content-length']);
  return headers['transfer-encoding'] === undefined ? 0 : null;
}

function starting(): Response {
  return new Response('starting', { status: 503, headers: { 'retry-after': '1' } });
}

function explainListenError(error: NodeJS.ErrnoException, host: string, port: number): Error {
  const say = (code: string, message: string) => new ErrandError(code, message, { cause: error });
  switch (error.code) {
    case 'EADDRINUSE':
      return say(
        'port-in-use',
        `Port ${port} on ${host} is in use: stop what listens there, or set ERRAND_PORT`,
      );
    case 'EACCES':
      return say(
        'port-refused',
        `Port ${port} on ${host} may not be bound by this user: set ERRAND_PORT to 1024 or more`,
      );
    case 'EADDRNOTAVAIL':
    case 'ENOTFOUND':
      return say('host-unknown', `${host} is not an address of this machine: set ERRAND_HOST`);
    default:
      return error;
  }
}
