import { type AddressInfo, connect, createServer, type Socket } from 'node:net';

/** What lies between a process and its database, and can fail as a network does. */
export interface TcpProxy {
  /** The same URL with the proxy's address in place of the database's. */
  url: string;
  /** Cuts every connection and every new one at once, until `mend`. */
  cut(): void;
  /** From now on what the server answers is dropped, while what clients send still arrives. */
  loseAnswers(): void;
  /** After so many bytes of what the server answers its connection ends, in the middle of them; once. */
  cutAnswerAfter(bytes: number): void;
  /** New connections go through again. Those that lost an answer are cut: they could never recover. */
  mend(): void;
  close(): Promise<void>;
}

type Fault = 'none' | 'cut' | 'lost-answers';

export async function startTcpProxy(databaseUrl: string): Promise<TcpProxy> {
  const database = new URL(databaseUrl);
  const sockets = new Set<Socket>();
  let fault: Fault = 'none';
  let bytesLeft = Number.POSITIVE_INFINITY;

  const server = createServer((client) => {
    if (fault === 'cut') return void client.destroy();
    const upstream = connect(Number(database.port || 5432), database.hostname);
    for (const [from, to] of [
      [client, upstream],
      [upstream, client],
    ] as const) {
      sockets.add(from);
      from.on('error', () => to.destroy());
      from.on('close', () => {
        sockets.delete(from);
        to.destroy();
      });
    }
    client.on('data', (chunk) => upstream.write(chunk));
    upstream.on('data', (chunk) => {
      if (fault === 'lost-answers') return;
      const passed = chunk.subarray(0, bytesLeft);
      bytesLeft -= passed.length;
      if (bytesLeft > 0) return void client.write(passed);
      bytesLeft = Number.POSITIVE_INFINITY;
      client.end(passed);
    });
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));

  function destroyAll(): void {
    for (const socket of sockets) socket.destroy();
  }

  const url = new URL(databaseUrl);
  url.hostname = '127.0.0.1';
  url.port = String((server.address() as AddressInfo).port);
  return {
    url: url.href,
    cut() {
      fault = 'cut';
      destroyAll();
    },
    loseAnswers() {
      fault = 'lost-answers';
    },
    cutAnswerAfter(bytes) {
      bytesLeft = bytes;
    },
    mend() {
      if (fault === 'lost-answers') destroyAll();
      fault = 'none';
    },
    async close() {
      destroyAll();
      await new Promise((resolve) => server.close(resolve));
    },
  };
}
