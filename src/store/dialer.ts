import { Socket } from 'node:net';
import { Duplex } from 'node:stream';
import { createConnectionGate } from './connection-gate.ts';

/** Makes the connections of one database, for one pool after the other. */
export interface Dialer {
  /**
   * `onMute`: a connection of the pool is of no use any more, nor is any that takes its place. The driver
   * forgets to send once a connection ended between a write and its flush.
   */
  pool(onMute?: () => void): Line;
}

/** The connections of one pool. */
export interface Line {
  /** The driver's option `socket`. */
  socket(to: Destination): Promise<Duplex>;
  /** Ends what the driver leaves behind when its pool is ended: call it after that. */
  hangUp(): void;
}

/** Of what the driver read in the database's URL. */
export interface Destination {
  host: string[];
  port: number[];
  /** Of a Unix socket; false for none. */
  path: string | false;
}

export interface DialerOptions {
  /** Connections of a pool at most: so many may be tried at once. */
  connections: number;
  /** How long a connection may wait for its turn, in milliseconds. Default: for ever. */
  patienceMs?: number;
  /** From 0 to 1. Default `Math.random`. */
  random?: () => number;
}

/** Between two looks at a new connection. */
const LOOK_MS = 50;
/** What does not go through by then never will: its peer is gone, and nobody told. */
const LAST_WORDS_MS = 1_000;

/**
 * The driver's own way to connect has four flaws, each of which stopped everything for a minute or more. It
 * connects again at once, 900 times a second, where connections are accepted and closed. A pool that is
 * ended goes on connecting, and those connections stay: after some replaced pools Postgres had none left. An
 * ended connection stays open until its peer agrees, which behind a black hole is never. And it may forget
 * to send (see `onMute`).
 *
 * So connections are made here, through a gate; one that is closed before it said anything fails the
 * statement it was made for; and where several hosts are named all go to the one that last let one in.
 * Source: issues 1179, 1188 and 1193 of porsager/postgres, unmended in 3.4.9.
 */
export function createDialer({
  connections,
  patienceMs = Number.POSITIVE_INFINITY,
  random,
}: DialerOptions): Dialer {
  const gate = createConnectionGate({ burst: 2 * connections, random });
  let hostAt = 0;

  function dial({ host, port, path }: Destination, onMute: () => void): Socket {
    const at = hostAt;
    const socket = new Socket();
    // The driver looks here for the name that a certificate has to have.
    Object.assign(socket, { host: host[at], port: port[at] });
    socket.once('end', () => {
      if (socket.bytesRead === 0) socket.destroy(closedUnheard());
    });
    if (path) socket.connect(path);
    else socket.connect(port[at]!, host[at]!);
    watch(socket, { at, next: (at + 1) % host.length }, onMute);
    return socket;
  }

  /** Let in is who was told something and is still there a moment later. */
  function watch(
    socket: Socket,
    { at, next }: { at: number; next: number },
    onMute: () => void,
  ): void {
    let wasHeard = false;
    let wasOpen = false;
    const refuse = () => {
      clearInterval(looks);
      if (hostAt === at) hostAt = next;
      gate.shut();
    };
    const looks = setInterval(() => {
      // Listeners alone would not do: TLS drops them.
      if (socket.destroyed) return refuse();
      if (wasHeard) {
        clearInterval(looks);
        socket.off('close', refuse);
        hostAt = at;
        gate.open();
      }
      wasHeard = socket.bytesRead > 0;
      if (wasOpen && socket.bytesWritten === 0) {
        clearInterval(looks);
        onMute();
      }
      wasOpen = !socket.connecting;
    }, LOOK_MS).unref();
    socket.once('close', refuse);
  }

  return {
    pool(onMute = () => {}) {
      let isEnded = false;
      const sockets = new Set<Socket>();
      return {
        async socket(to) {
          const endMs = performance.now() + patienceMs;
          const mayTry = await gate.pass(() => !isEnded && performance.now() < endMs);
          if (isEnded) throw new Error('The pool was ended');
          const socket = mayTry ? dial(to, onMute) : refusedSocket();
          for (const known of sockets) if (known.destroyed) sockets.delete(known);
          if (socket instanceof Socket) sockets.add(socket);
          return socket;
        },
        hangUp() {
          isEnded = true;
          for (const socket of sockets) end(socket);
        },
      };
    },
  };
}

function end(socket: Socket): void {
  if (socket.connecting) return void socket.destroy();
  socket.destroySoon();
  setTimeout(() => socket.destroy(), LAST_WORDS_MS).unref();
}

/**
 * The driver gives a connection back to its pool only after a socket's error and end, and must have sent
 * something before: one that ends between a write and its flush is mute from then on.
 */
function refusedSocket(): Duplex {
  return new Duplex({
    read() {},
    write(_chunk, _encoding, done) {
      done();
      this.destroy(refusal('The database lets no connection in'));
    },
  });
}

function closedUnheard(): Error {
  return refusal('What answers at the address of the database closes connections at once');
}

/** The code is ours: the statement that the connection was made for was never sent. */
function refusal(message: string): Error {
  return Object.assign(new Error(message), { code: 'CONNECTION_REFUSED' });
}
