import type { LookupFunction, Socket } from 'node:net';
import { destinationOf, type TargetGuard } from './guard.ts';

/** An HTTP client's way to open a connection, as far as it matters here (undici's `connect`). */
type Connect<Target> = (
  target: Target,
  callback: (...result: [null, Socket] | [Error, null]) => void,
) => unknown;

interface ConnectTarget {
  protocol: string;
  hostname: string;
  port: string;
}

/** Each keeps the TLS sessions of its targets; ports beyond so many start anew. */
const MAX_CONNECTORS = 64;

/**
 * A `connect` that reaches no address which the guard refuses. `build` makes the one that does the work,
 * with the `lookup` it is to use; it is told no port there, so that every port has one of its own.
 */
export function createGuardedConnector<Target extends ConnectTarget>(
  guard: TargetGuard,
  build: (lookup: LookupFunction) => Connect<Target>,
): Connect<Target> {
  const connectors = new Map<string, Connect<Target>>();

  function connectorOf(target: Target): Connect<Target> {
    const key = `${target.protocol}${target.port}`;
    const connector = connectors.get(key) ?? build(guard.lookupFor(destinationOf(target)));
    if (connectors.size >= MAX_CONNECTORS) connectors.clear();
    connectors.set(key, connector);
    return connector;
  }

  return (target, callback) => {
    const destination = destinationOf(target);
    guard.admit(destination).then(
      () => {
        let refused: Error | null = null;
        const socket = connectorOf(target)(target, (error, connected) => {
          const failure = refused ?? error;
          if (failure !== null) callback(failure, null);
          else callback(null, connected!);
        }) as Socket;
        // Before anyone else's, so that not even the first bytes of TLS are sent.
        socket.prependOnceListener('connect', () => {
          try {
            guard.checkSocket(socket, destination);
          } catch (blocked) {
            refused = blocked as Error;
            socket.destroy(refused);
          }
        });
      },
      (error) => callback(error, null),
    );
  };
}
