import { isIP, type LookupFunction, type Socket } from 'node:net';
import { ErrandError } from '../errors.ts';
import {
  createAddressRules,
  type Destination,
  normalName,
  type TargetRules,
} from './address-rules.ts';
import { createNameResolver, type NameResolver } from './name-resolver.ts';
import { createRefusedEndpoints } from './refused-endpoints.ts';

export type { Destination, Endpoint, TargetRules } from './address-rules.ts';

export interface TargetGuard {
  /** What speaks against a URL as far as it can be known without asking for its name; null: nothing. */
  refusal(url: URL): string | null;
  /** For a call whose connection another makes. Throws TargetBlocked when its host is a literal that is refused. */
  checkLiteral(url: URL): void;
  /** Before a connection is made: rejects with TargetBlocked when its host is a literal that is refused. */
  admit(destination: Destination): Promise<void>;
  /** A `lookup` for net.connect that refuses a name when any of its addresses is refused. */
  lookupFor(destination: Destination): LookupFunction;
  /** The last look, at the address that was really connected to. Throws TargetBlocked. */
  checkSocket(socket: Socket, destination: Destination): void;
}

/** The address a name leads to is not in the message: the name's owner need not be who reads it. */
export class TargetBlocked extends ErrandError {
  constructor(host: string, reason: string) {
    super('target-blocked', `${host}: ${reason}`);
  }
}

const LOCALHOST = ['127.0.0.1', '::1'];
const OUR_OWN = 'Errand or its database listens there, so it is never called';

/**
 * The rules of where requests may go (SSRF). They are applied three times, because each alone can be
 * got round: to a literal before connecting (the resolver is not asked then), to every address a name
 * resolves to, and to the address that was connected to.
 */
export function createTargetGuard(
  rules: TargetRules,
  // Whoever may call nothing but public addresses has no need for names that only this network knows.
  resolver: NameResolver = createNameResolver({ usesSystem: rules.allow.length > 0 }),
): TargetGuard {
  const addressRules = createAddressRules(rules);
  const endpoints = createRefusedEndpoints(rules.refusedEndpoints ?? [], resolver);

  function refusalOf(address: string, destination: Destination): string | null {
    if (endpoints.includes(address, destination.port)) return OUR_OWN;
    return addressRules.refusal(address, destination);
  }

  function check(addresses: readonly string[], destination: Destination): void {
    for (const address of addresses) {
      const reason = refusalOf(address, destination);
      if (reason !== null) throw new TargetBlocked(destination.host, reason);
    }
  }

  function checkLiteral(destination: Destination): void {
    if (isIP(destination.host) !== 0) check([destination.host], destination);
  }

  async function resolve(destination: Destination): Promise<string[]> {
    const [addresses] = await Promise.all([
      resolver.resolve(destination.host),
      endpoints.refresh(destination.port),
    ]);
    check(addresses, destination);
    return addresses;
  }

  return {
    refusal(url) {
      const destination = destinationOf(url);
      const { host, port } = destination;
      if (endpoints.hasName(host, port)) return OUR_OWN;
      if (isIP(host) !== 0) return refusalOf(host, destination);
      if (!isLocalhost(host)) return addressRules.refusalOfName(destination);
      return LOCALHOST.map((each) => refusalOf(each, destination)).find(Boolean) ?? null;
    },
    checkLiteral: (url) => checkLiteral(destinationOf(url)),
    async admit(destination) {
      await endpoints.refresh(destination.port);
      checkLiteral(destination);
    },
    lookupFor: (destination) => (host, options, callback) => {
      resolve({ ...destination, host }).then(
        (addresses) => {
          const found = addresses.map((address) => ({ address, family: isIP(address) }));
          if (options.all) callback(null, found);
          else callback(null, found[0]!.address, found[0]!.family);
        },
        (error) => callback(error, []),
      );
    },
    checkSocket({ remoteAddress }, destination) {
      if (remoteAddress !== undefined) check([unmapped(remoteAddress)], destination);
    },
  };
}

/** What a URL, or the target that an HTTP client connects to, leads to. */
export function destinationOf(target: {
  protocol: string;
  hostname: string;
  port: string;
}): Destination {
  const isSecure = target.protocol === 'https:';
  return {
    host: target.hostname.replace(/^\[|\]$/g, ''),
    port: Number(target.port || (isSecure ? 443 : 80)),
    isSecure,
  };
}

/** RFC 6761, section 6.3. */
function isLocalhost(host: string): boolean {
  const name = normalName(host);
  return name === 'localhost' || name.endsWith('.localhost');
}

/** A dual-stack socket reports an IPv4 peer as ::ffff:a.b.c.d. */
function unmapped(address: string): string {
  return address.startsWith('::ffff:') && isIP(address.slice(7)) === 4 ? address.slice(7) : address;
}
