import { createSecureContext, getCACertificates } from 'node:tls';
import { Agent, buildConnector, type Dispatcher, Pool, ProxyAgent } from 'undici';
import type { Answer } from '../policy/settlement.ts';
import { LIMIT } from '../protocol/limits.ts';
import { createAnswerHandler } from './answer-handler.ts';
import type { CallTarget } from './call-target.ts';
import type { TargetGuard } from './guard.ts';
import { createGuardedConnector } from './guarded-connector.ts';

export interface PostRequest {
  project: string;
  target: CallTarget;
  method: string;
  headers: Record<string, string>;
  body: Uint8Array;
  /** The whole call, from the connection to the last byte, ends by then. */
  deadlineMs: number;
  /** Asked when the connection is there: the last moment at which the call can be left undone. */
  mayBegin?: () => boolean;
}

export interface Poster {
  /** Makes one call; never throws: whatever happens is an answer. Null when it might not begin. */
  post(request: PostRequest): Promise<Answer | null>;
  /** Aborts what is in flight and closes every connection. */
  close(): Promise<void>;
}

export interface PosterOptions {
  guard: TargetGuard;
  /** Connections to one origin at most. */
  connections: number;
  proxy?: string | null;
  /** PEM of further certificate authorities, besides those that Node trusts. */
  ca?: string | null;
}

/**
 * The only place that speaks HTTP to targets. A project has an agent of its own, so that a target
 * can't leave bytes on a socket that another project's call is then read from. Redirects are never
 * followed, and nothing is decompressed.
 */
export function createPoster(options: PosterOptions): Poster {
  const agents = new Map<string, Dispatcher>();

  function agentOf(project: string): Dispatcher {
    let agent = agents.get(project);
    if (agent === undefined) {
      agent = createAgent(options);
      agents.set(project, agent);
    }
    return agent;
  }

  return {
    post(request) {
      return call(() => {
        // A proxy resolves names by itself, so of its targets only a literal can be checked here.
        if (options.proxy) options.guard.checkLiteral(request.target.url);
        return agentOf(request.project);
      }, request);
    },
    async close() {
      await Promise.all([...agents.values()].map((agent) => agent.destroy()));
      agents.clear();
    },
  };
}

function createAgent({ guard, connections, proxy, ca }: PosterOptions): Dispatcher {
  const common = {
    connections,
    pipelining: 1,
    allowH2: false,
    // The deadline of the call bounds everything; these would end long calls early.
    headersTimeout: 0,
    bodyTimeout: 0,
    // A target may ask for more, but an idle connection is a file descriptor, and targets are many.
    keepAliveMaxTimeout: 10_000,
    maxHeaderSize: LIMIT.headersBytes * 2,
  };
  if (proxy) {
    return new ProxyAgent({
      ...common,
      uri: proxy,
      requestTls: ca ? trusting(ca) : undefined,
      // By itself it forwards plain requests over a single connection, with undici's own timeouts.
      factory: (origin, more) => new Pool(origin, { ...more, ...common }),
    });
  }
  return new Agent({
    ...common,
    connect: createGuardedConnector(guard, (lookup) =>
      buildConnector({ timeout: 10_000, allowH2: false, lookup, ...(ca ? trusting(ca) : {}) }),
    ),
  });
}

/** A context, for a bare `ca` would be trusted instead of the well-known ones, and read for each connection. */
function trusting(ca: string) {
  return { secureContext: createSecureContext({ ca: [...getCACertificates('default'), ca] }) };
}

/**
 * undici's own timeouts do not bound a call (a dripped body outlives them), so one timer does. The
 * handler is undici's dispatch-level one: it costs half of what `request()` does.
 */
function call(findAgent: () => Dispatcher, request: PostRequest): Promise<Answer | null> {
  return new Promise((resolve) => {
    const handler = createAnswerHandler(request, resolve);
    try {
      findAgent().dispatch(
        {
          origin: request.target.origin,
          path: request.target.path,
          method: request.method as Dispatcher.HttpMethod,
          headers: request.headers,
          body: request.body.length === 0 && isBodiless(request.method) ? null : request.body,
        },
        handler,
      );
    } catch (error) {
      // The guard throws, and so does undici on what it can't send; what fails later goes to the handler.
      handler.onResponseError(null, error as Error);
    }
  });
}

function isBodiless(method: string): boolean {
  return method === 'GET' || method === 'HEAD' || method === 'DELETE';
}
