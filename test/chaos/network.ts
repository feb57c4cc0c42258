import { type AddressInfo, connect, createServer, type Socket } from 'node:net';

/**
 * What lies between a process and its database.
 * - `clear`: everything goes through.
 * - `cut`: every connection is reset, and each new one too.
 * - `black-hole`: nothing comes through in either direction, and nobody is told. New ones are accepted.
 * - `half-open`: the database's ends of all connections are gone and nobody is told; new ones go through.
 * - `accept-then-fin`: new ones are accepted and ended at once.
 */
export type Weather = 'clear' | 'cut' | 'black-hole' | 'half-open' | 'accept-then-fin';

export interface Network {
  /** The database's URL by way of this network. */
  url: string;
  change(weather: Weather): void;
  /** New connections go to this database from now on; those that are open are reset. */
  leadTo(databaseUrl: string): void;
  /** Connections accepted so far. */
  accepted(): number;
  close(): Promise<void>;
}

interface Link {
  client: Socket;
  database: Socket | null;
  /** It lost bytes: it could never be of use again. */
  isBroken: boolean;
}

export async function startNetwork(databaseUrl: string): Promise<Network> {
  const links = new Set<Link>();
  const clients = new Set<Socket>();
  let weather: Weather = 'clear';
  let destination = new URL(databaseUrl);
  let accepted = 0;

  const server = createServer((client) => {
    accepted += 1;
    clients.add(client);
    client.on('error', () => {}); // Its end follows, which is what counts.
    client.on('close', () => clients.delete(client));
    if (weather === 'cut') return void client.resetAndDestroy();
    if (weather === 'accept-then-fin') return void client.end();
    const link: Link = { client, database: null, isBroken: false };
    links.add(link);
    client.on('close', () => {
      links.delete(link);
      link.database?.destroy();
    });
    if (weather === 'black-hole') {
      link.isBroken = true;
      client.resume();
      return;
    }
    link.database = openUpstream(link);
  });

  function openUpstream(link: Link): Socket {
    const database = connect(Number(destination.port), destination.hostname);
    const passes = () => weather !== 'black-hole' && !link.isBroken;
    const carry = (to: Socket) => (chunk: Buffer) => {
      if (passes()) to.write(chunk);
      else link.isBroken = true;
    };
    database.on('error', () => {});
    database.on('data', carry(link.client));
    link.client.on('data', carry(database));
    database.on('close', () => {
      if (passes()) link.client.destroy();
    });
    return database;
  }

  const reset = (isChosen: (link: Link) => boolean) => {
    for (const link of links) if (isChosen(link)) link.client.resetAndDestroy();
  };

  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const url = new URL(databaseUrl);
  url.port = String((server.address() as AddressInfo).port);

  return {
    url: url.href,
    change(to) {
      weather = to;
      if (to === 'cut') reset(() => true);
      if (to === 'clear') reset(({ isBroken }) => isBroken);
      if (to === 'accept-then-fin') for (const { client } of links) client.end();
      if (to === 'half-open') {
        for (const link of links) {
          link.isBroken = true;
          link.database?.destroy();
        }
      }
    },
    leadTo(next) {
      destination = new URL(next);
      reset(() => true);
    },
    accepted: () => accepted,
    async close() {
      for (const client of clients) client.destroy();
      await new Promise((resolve) => server.close(resolve));
    },
  };
}
