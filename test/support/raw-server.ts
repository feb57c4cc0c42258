import { type AddressInfo, createServer, type Socket } from 'node:net';

export interface RawServer {
  port: number;
  url: string;
  /** Connections that were ever accepted. */
  accepted(): number;
  /** Connections that are open now. */
  open(): number;
  /** Everything that was received, of all connections in order of arrival. */
  received(): string;
  close(): Promise<void>;
}

/**
 * A TCP server that answers as no well-behaved HTTP server would: `onRequest` gets the socket with the
 * first bytes that come on it.
 */
export async function startRawServer(
  onRequest: (socket: Socket) => void,
  host = '127.0.0.1',
): Promise<RawServer> {
  const sockets = new Set<Socket>();
  const received: Buffer[] = [];
  let accepted = 0;
  const server = createServer((socket) => {
    accepted += 1;
    sockets.add(socket);
    // A reset is what many tests are about; whoever cares sees it at the client.
    socket.on('error', () => {});
    socket.on('close', () => sockets.delete(socket));
    socket.on('data', (chunk) => received.push(chunk));
    socket.once('data', () => onRequest(socket));
  });
  await new Promise<void>((resolve) => server.listen(0, host, resolve));
  const { port } = server.address() as AddressInfo;
  return {
    port,
    url: `http://127.0.0.1:${port}/`,
    accepted: () => accepted,
    open: () => sockets.size,
    received: () => Buffer.concat(received).toString('latin1'),
    async close() {
      for (const socket of sockets) socket.destroy();
      await new Promise((resolve) => server.close(resolve));
    },
  };
}
