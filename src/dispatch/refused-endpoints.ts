import { type BlockList, isIP } from 'node:net';
import { networkInterfaces } from 'node:os';
import { blockList, type Endpoint, familyOf, normalName } from './address-rules.ts';
import type { NameResolver } from './name-resolver.ts';

export interface RefusedEndpoints {
  /** Learns the addresses of the endpoints on this port anew; those of a name that fails stay as they were. */
  refresh(port: number): Promise<void>;
  /** As far as the addresses are known: those of literals always are, those of names by `refresh`. */
  includes(address: string, port: number): boolean;
  hasName(host: string, port: number): boolean;
}

const LOOPBACK_AND_UNSPECIFIED = ['127.0.0.0/8', '0.0.0.0', '::1', '::'];

/**
 * Where Errand itself and its database listen. An endpoint on this machine is refused at every address
 * of the machine: what listens on one of them often listens on all.
 */
export function createRefusedEndpoints(
  endpoints: readonly Endpoint[],
  resolver: NameResolver,
): RefusedEndpoints {
  const byPort = Map.groupBy(endpoints, ({ port }) => port);
  const known = new Map<Endpoint, string[]>(
    endpoints.flatMap((each) => {
      const literal = literalOf(each.host);
      return literal === null ? [] : [[each, [literal]]];
    }),
  );

  async function learn(endpoint: Endpoint): Promise<void> {
    if (literalOf(endpoint.host) !== null) return;
    try {
      known.set(endpoint, await resolver.resolve(endpoint.host));
    } catch {
      // A name that fails now is known by what it led to before, if it ever led anywhere.
    }
  }

  return {
    async refresh(port) {
      await Promise.all((byPort.get(port) ?? []).map(learn));
    },
    includes(address, port) {
      const found = (byPort.get(port) ?? []).flatMap((each) => known.get(each) ?? []);
      if (found.length === 0) return false;
      const own = ownAddresses();
      const isOwn = found.some((each) => own.check(each, familyOf(each)));
      const family = familyOf(address);
      return blockList(found).check(address, family) || (isOwn && own.check(address, family));
    },
    hasName(host, port) {
      const name = normalName(host);
      return (byPort.get(port) ?? []).some((each) => normalName(each.host) === name);
    },
  };
}

function literalOf(host: string): string | null {
  if (normalName(host) === 'localhost') return '127.0.0.1';
  return isIP(host) === 0 ? null : host;
}

/** Looked up each time, for addresses come and go while we run. */
function ownAddresses(): BlockList {
  const ofInterfaces = Object.values(networkInterfaces()).flatMap((each) => each ?? []);
  return blockList([...LOOPBACK_AND_UNSPECIFIED, ...ofInterfaces.map(({ address }) => address)]);
}
