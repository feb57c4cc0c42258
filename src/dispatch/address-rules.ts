import { BlockList, isIP } from 'node:net';

/** Which targets may be called besides the public internet over https. */
export interface TargetRules {
  /**
   * Host names, IP addresses, CIDRs, `loopback`, and `http` for plain http to public addresses. A name
   * may resolve to any address but a cloud's metadata, and only as itself: not the names below it.
   */
  allow: readonly string[];
  /** Where Errand itself and its database listen: never called, whatever is allowed. Default none. */
  refusedEndpoints?: readonly Endpoint[];
}

/** A listener: `host` is a name or an address; an unspecified one is every address of this machine. */
export interface Endpoint {
  host: string;
  port: number;
}

/** One connection that a call would make. */
export interface Destination {
  /** As the URL has it, without brackets. */
  host: string;
  port: number;
  isSecure: boolean;
}

export interface AddressRules {
  /** Why this address may not be connected to; null when it may. `address` is an IP literal. */
  refusal(address: string, destination: Destination): string | null;
  /** The same of a name whose addresses are not known yet: null when some of them might do. */
  refusalOfName(destination: Destination): string | null;
}

/**
 * IANA's special-purpose IPv4 space, with multicast and broadcast.
 * Source: https://www.iana.org/assignments/iana-ipv4-special-registry (RFC 6890).
 */
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
];

/** Only global unicast is public, and of it not what embeds IPv4 or is for special purposes (RFC 4291). */
const GLOBAL_UNICAST_IPV6 = '2000::/3';
const REFUSED_IPV6 = ['2001::/23', '2001:db8::/32', '2002::/16', '3fff::/20', '2620:4f:8000::/48'];

/**
 * Where clouds give away credentials: AWS (instance, container and pod), GCP, Azure, Oracle, Alibaba,
 * Tencent and Scaleway. One has to be on the list by itself: a range around it, or a name, allows none.
 */
const METADATA = [
  ...['169.254.169.254', '169.254.170.2', '169.254.170.23', '169.254.42.42', '169.254.0.23'],
  ...['168.63.129.16', '192.0.0.192', '100.100.100.200', 'fd00:ec2::254', 'fd00:ec2::23'],
  ...['fd20:ce::254', 'fd00:42::42'],
];

/** What these lead to depends on the machine that asks, but it is never for strangers. */
const METADATA_NAMES = ['metadata.google.internal', 'metadata.goog', 'instance-data.ec2.internal'];

const LOOPBACK = ['127.0.0.0/8', '::1/128', 'localhost'];

/**
 * Ports of other protocols, some of which a POST can be made to speak.
 * Source: Fetch, "port blocking" (https://fetch.spec.whatwg.org/#port-blocking).
 */
const REFUSED_PORTS: ReadonlySet<number> = new Set([
  ...[0, 1, 7, 9, 11, 13, 15, 17, 19, 20, 21, 22, 23, 25, 37, 42, 43, 53, 69, 77, 79, 87, 95, 101],
  ...[
    102, 103, 104, 109, 110, 111, 113, 115, 117, 119, 123, 135, 137, 139, 143, 161, 179, 389, 427,
  ],
  ...[
    465, 512, 513, 514, 515, 526, 530, 531, 532, 540, 548, 554, 556, 563, 587, 601, 636, 989, 990,
  ],
  ...[993, 995, 1719, 1720, 1723, 2049, 3659, 4045, 4190, 5060, 5061, 6000, 6566, 6665, 6666, 6667],
  ...[6668, 6669, 6679, 6697, 10080],
]);

const NOT_PUBLIC = 'not a public address, nor on ERRAND_TARGET_ALLOW';
const NOT_SECURE = 'only targets on ERRAND_TARGET_ALLOW are called by http, use https';

/** What may be called, judged by address alone: names are resolved before they come here. */
export function createAddressRules({ allow }: TargetRules): AddressRules {
  const entries = allow.flatMap((entry) => (entry === 'loopback' ? LOOPBACK : [entry]));
  const names = new Set(entries.filter((each) => !isRange(each)).map(normalName));
  const isPlainAllowed = names.delete('http');
  const ranges = entries.filter(isRange);
  const allowed = blockList(ranges);
  const metadata = blockList(METADATA.filter((address) => !entries.includes(address)));
  const refused = blockList([...REFUSED_IPV4, ...REFUSED_IPV6]);
  const globalUnicast = blockList([GLOBAL_UNICAST_IPV6]);

  function isPublic(address: string): boolean {
    if (isIP(address) === 6 && !globalUnicast.check(address, 'ipv6')) return false;
    return !refused.check(address, familyOf(address));
  }

  function refusalOfPublic({ port, isSecure }: Destination): string | null {
    if (REFUSED_PORTS.has(port)) return `port ${port} is for other protocols than http`;
    return isSecure || isPlainAllowed ? null : NOT_SECURE;
  }

  return {
    refusal(address, destination) {
      const family = familyOf(address);
      if (metadata.check(address, family)) return NOT_PUBLIC;
      if (names.has(normalName(destination.host)) || allowed.check(address, family)) return null;
      return isPublic(address) ? refusalOfPublic(destination) : NOT_PUBLIC;
    },
    refusalOfName(destination) {
      const name = normalName(destination.host);
      if (names.has(name)) return null;
      if (METADATA_NAMES.includes(name)) return NOT_PUBLIC;
      return ranges.length > 0 ? null : refusalOfPublic(destination);
    },
  };
}

export function blockList(ranges: readonly string[]): BlockList {
  const list = new BlockList();
  for (const range of ranges) {
    const [address, bits] = range.split('/') as [string, string | undefined];
    const isV6 = isIP(address) === 6;
    list.addSubnet(address, Number(bits ?? (isV6 ? 128 : 32)), isV6 ? 'ipv6' : 'ipv4');
  }
  return list;
}

export function familyOf(address: string): 'ipv4' | 'ipv6' {
  return isIP(address) === 6 ? 'ipv6' : 'ipv4';
}

/** Names have no case, and one with the root's dot at its end is the same. */
export function normalName(name: string): string {
  return name.toLowerCase().replace(/\.$/, '');
}

function isRange(entry: string): boolean {
  return isIP(entry.split('/')[0]!) !== 0;
}
