import type { IncomingMessage, ServerResponse } from 'node:http';
import { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import type { TaskHandler } from './task.ts';

/** What `http.createServer` and Express take. */
export type NodeHandler = (request: IncomingMessage, response: ServerResponse) => Promise<void>;

const CONSUMED =
  "The body was already read by a body parser, so its hash can't be checked; mount this handler before express.json() and its like\n";
const NOT_WEB = 'The request is not one that a web handler can take\n';

/**
 * Bridges a web handler to Node: `http.createServer(toNodeHandler(handler))`, or in Express
 * `app.post('/tasks/email', toNodeHandler(handler))` **before** `app.use(express.json())`, since the
 * raw bytes are needed; after it, every request is answered 500 with a text that says so.
 *
 * The request's signal is aborted when the client goes away. The URL is built from the path alone
 * (Express's `originalUrl` where there is one); the `Host` header decides nothing. What `task()` and
 * `iterativeTask()` make never throws; another handler that does is answered 500, and what it threw
 * goes to `process.emitWarning`. The promise never rejects.
 *
 * @example
 * createServer(toNodeHandler(sendEmail)).listen(3000);
 */
export function toNodeHandler(handler: TaskHandler): NodeHandler {
  return async (incoming, outgoing) => {
    if (incoming.readableDidRead) return refuse(outgoing, 500, CONSUMED);
    const aborter = new AbortController();
    outgoing.once('close', () => {
      if (!outgoing.writableFinished) aborter.abort();
    });
    const body = openBody(incoming);
    const request = toRequest(incoming, body.stream, aborter.signal);
    if (request === null) refuse(outgoing, 400, NOT_WEB);
    else await answer(request, handler, outgoing);
    body.discard();
  };
}

/** The little of a Fastify instance that is used, so that the kit needs no Fastify. */
export interface FastifyScope {
  removeAllContentTypeParsers(): void;
  addContentTypeParser(
    contentType: string,
    parser: (request: unknown, payload: unknown, done: (error: Error | null) => void) => void,
  ): void;
  all(
    path: string,
    handler: (request: { raw: IncomingMessage }, reply: FastifyReply) => Promise<void>,
  ): unknown;
}

interface FastifyReply {
  raw: ServerResponse;
  hijack(): unknown;
}

/**
 * Bridges web handlers to Fastify, as a plugin that serves each at its path. Within the plugin bodies
 * are left unparsed, since the raw bytes are needed; the rest of the app keeps its parsers.
 *
 * @example
 * app.register(fastifyTargets({ '/tasks/email': sendEmail }));
 */
export function fastifyTargets(
  targets: Record<string, TaskHandler>,
): (scope: FastifyScope) => Promise<void> {
  return async (scope) => {
    scope.removeAllContentTypeParsers();
    scope.addContentTypeParser('*', (_request, _payload, done) => done(null));
    for (const [path, handler] of Object.entries(targets)) {
      const handle = toNodeHandler(handler);
      scope.all(path, (request, reply) => {
        reply.hijack();
        return handle(request.raw, reply.raw);
      });
    }
  };
}

async function answer(
  request: Request,
  handler: TaskHandler,
  outgoing: ServerResponse,
): Promise<void> {
  try {
    await send(await handler(request), outgoing);
  } catch (error) {
    fail(error, outgoing);
  }
}

function refuse(outgoing: ServerResponse, status: number, text: string): void {
  outgoing.writeHead(status, { 'content-type': 'text/plain; charset=utf-8' }).end(text);
}

/** An answer that has begun can only be cut, so that it is not mistaken for a whole one. */
function fail(error: unknown, outgoing: ServerResponse): void {
  process.emitWarning(error instanceof Error ? error : String(error));
  if (outgoing.headersSent) outgoing.destroy();
  else refuse(outgoing, 500, 'The handler threw an error\n');
}

/**
 * Not `Readable.toWeb`: cancelling that destroys the socket before the refusal is written, and left
 * unread it would hold the connection for ever. `discard` drops what nobody read, as Node itself does.
 */
function openBody(incoming: IncomingMessage): {
  stream: ReadableStream<Uint8Array>;
  discard: () => void;
} {
  let controller: ReadableStreamDefaultController<Uint8Array>;
  const onData = (chunk: Uint8Array): void => {
    controller.enqueue(chunk);
    if ((controller.desiredSize ?? 0) <= 0) incoming.pause();
  };
  const onEnd = (): void => controller.close();
  const discard = (): void => {
    incoming.off('data', onData).off('end', onEnd).resume();
  };
  const stream = new ReadableStream<Uint8Array>({
    start(given) {
      controller = given;
      incoming.on('data', onData).once('end', onEnd).pause();
      incoming.once('error', (error) => controller.error(error));
    },
    pull: () => void incoming.resume(),
    cancel: discard,
  });
  return { stream, discard };
}

/**
 * Null for what the web platform can't express, such as TRACE. Only path and query are the sender's
 * to say: `.invalid` is a name that no one has (RFC 2606).
 */
function toRequest(
  incoming: IncomingMessage & { originalUrl?: string },
  stream: ReadableStream<Uint8Array>,
  signal: AbortSignal,
): Request | null {
  const { method = 'GET', rawHeaders, originalUrl, url = '' } = incoming;
  const target = originalUrl ?? url;
  const body = method === 'GET' || method === 'HEAD' ? null : stream;
  const init = { method, body, signal, duplex: 'half' } as RequestInit;
  try {
    const absolute = target.startsWith('/') ? `http://worker.invalid${target}` : target;
    const request = new Request(absolute, init);
    for (let i = 0; i < rawHeaders.length; i += 2) {
      request.headers.append(rawHeaders[i]!, rawHeaders[i + 1]!);
    }
    return request;
  } catch {
    return null;
  }
}

async function send(response: Response, outgoing: ServerResponse): Promise<void> {
  outgoing.statusCode = response.status;
  for (const [name, value] of response.headers) outgoing.appendHeader(name, value);
  if (response.body === null) {
    outgoing.end();
    return;
  }
  await pipeline(Readable.fromWeb(response.body as never), outgoing).catch((error) => {
    // The client hung up, which the signal has told already.
    if (error.code !== 'ERR_STREAM_PREMATURE_CLOSE') throw error;
  });
}
