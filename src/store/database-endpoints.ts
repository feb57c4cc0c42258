import { connect } from './database.ts';

/**
 * The hosts and ports that a database URL leads to, as the driver reads it: one may name several, or
 * leave them to the environment. Nothing is connected to. A Unix socket is no endpoint.
 */
export function databaseEndpoints(url: string): { host: string; port: number }[] {
  const { options } = connect({ url, connections: 1, name: 'errand' });
  if (options.path) return [];
  return options.host.map((host, at) => ({ host, port: options.port[at]! }));
}
