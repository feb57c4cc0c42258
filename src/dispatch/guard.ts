import { lookup as dnsLookup } from 'node:dns';
import { BlockList, isIP, type LookupFunction, type Socket } from 'node:net';
import { ErrandError } from '../errors.ts';

/** Which targets may be called besides the public internet. */
export interface TargetRules {
  /** Host names, IP addresses, CIDRs, or `loopback`. */
  allow: readonly string[];
}

export interface TargetGuard {
  /** Throws TargetBlocked when the address, a literal in any spelling, may not be called. */
  checkAddress(address: string, host: string): void;
  /** A `lookup` for net.connect that refuses a name when any of its addresses is refused. */
  lookup: LookupFunction;
  /** The last look, at the address that was really connected to: a name may have been rebound. */
  checkSocket(socket: Socket, host: string): void;
}

export class TargetBlocked extends ErrandError {
  constructor(host: string, address: string) {
    super(
      'target-blocked',
      `${host} resolves to ${address}, which is not a public address: set ERRAND_TARGET_ALLOW to call it`,
    );
  }
}

/** IANA special-purpose IPv4 space, with multicast, broadcast and the clouds' metadata addresses. */
const REFUSED_IPV4 = [
  '0.0.0.0/8',
  '10.0.0.0/8',
  '100.64.0.0/10',
  '127.0.0.0/8',
  '169.254.0.0/16',
  '172.16.0.0/12',
  '192.0.0.0/24',
  '192.0.2.0/24',
  '192.31.196.0/24',
  '192.52.193.0/24',
  '192.88.99.0/24',
  '192.168.0.0/16',
  '192.175.48.0/24',
  '198.18.0.0/15',
  '198.51.100.0/24',
  '203.0.113.0/24',
  '224.0.0.0/4',
  '240.0.0.0/4',
  '168.63.129.16/32',
];

/** Only global unicast is allowed, and of it not what embeds IPv4 or is for special purposes. */
const GLOBAL_UNICAST_IPV6 = '2000::/3';
const REFUSED_IPV6 = ['2001::/23', '2001:db8::/32', '2002::/16', '3fff::/20', '2620:4f:8000::/48'];

const LOOPBACK = ['127.0.0.0/8', '::1/128', 'localhost'];

/**
 * The rules of where requests may go (SSRF). They are applied three times, because each alone can be
 * got round: to a literal before connecting (the resolver is not asked then), to every address a name
 * resolves to, and to the address that was connected to.
 */
export function createTargetGuard(rules: TargetRules): TargetGuard {
  const entries = rules.allow.flatMap((entry) => (entry === 'loopback' ? LOOPBACK : [entry]));
  const allowedHosts = new Set(entries.filter((e) => !isRange(e)).map((e) => e.toLowerCase()));
  const allowed = blockList(entries.filter(isRange));
  const refused = blockList([...REFUSED_IPV4, ...REFUSED_IPV6]);
  const globalUnicast = blockList([GLOBAL_UNICAST_IPV6]);

  function isAllowed(address: string, host: string): boolean {
    const family = isIP(address) === 6 ? 'ipv6' : 'ipv4';
    if (allowedHosts.has(host.toLowerCase()) || allowed.check(address, family)) return true;
    if (family === 'ipv6' && !globalUnicast.check(address, 'ipv6')) return false;
    return !refused.check(address, family);
  }

  function checkAddress(address: string, host: string): void {
    if (!isAllowed(address, host)) throw new TargetBlocked(host, address);
  }

  return {
    checkAddress,
    lookup(host, options, callback) {
      dnsLookup(host, { ...options, all: true }, (error, addresses) => {
        if (error) return callback(error, []);
        const blocked = addresses.find(({ address }) => !isAllowed(address, host));
        if (blocked) return callback(new TargetBlocked(host, blocked.address), []);
        if (options.all) return callback(null, addresses);
        callback(null, addresses[0]!.address, addresses[0]!.family);
      });
    },
    checkSocket(socket, host) {
      if (socket.remoteAddress !== undefined) checkAddress(unmapped(socket.remoteAddress), host);
    },
  };
}

function blockList(ranges: readonly string[]): BlockList {
  const list = new BlockList();
  for (const range of ranges) {
    const [address, bits] = range.split('/') as [string, string | undefined];
    const isV6 = isIP(address) === 6;
    list.addSubnet(address, Number(bits ?? (isV6 ? 128 : 32)), isV6 ? 'ipv6' : 'ipv4');
  }
  return list;
}

function isRange(entry: string): boolean {
  return isIP(entry.split('/')[0]!) !== 0;
}

/** A dual-stack socket reports an IPv4 peer as ::ffff:a.b.c.d. */
function unmapped(address: string): string {
  return address.startsWith('::ffff:') && isIP(address.slice(7)) === 4 ? address.slice(7) : address;
}
