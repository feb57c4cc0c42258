import { lookup, Resolver } from 'node:dns/promises';
import pLimit from 'p-limit';
import { ErrandError } from '../errors.ts';
import { normalName } from './address-rules.ts';
import { createHostsFile } from './hosts-file.ts';

export interface NameResolver {
  /** Every address of a name, IPv4 first; at least one. Throws NameNotResolved. */
  resolve(host: string): Promise<string[]>;
}

export interface NameResolverOptions {
  /** The name servers, as `address:port`. Default: the machine's. */
  servers?: readonly string[];
  /**
   * Asks the system where DNS knows no name: for search domains, mDNS and the like. One such question
   * takes a thread for as long as it goes on, so leave it out where strangers choose the names.
   */
  usesSystem: boolean;
  /** How long one question may take. Default 2,000. */
  timeoutMs?: number;
  /** Path of the machine's file of names. */
  hostsFile?: string;
  monotonic?: () => number;
}

export class NameNotResolved extends ErrandError {}

/** An answer serves the connections that are opened in one burst; a failure, the retries of one. */
const HELD_MS = 2_000;
const MAX_HELD = 1_000;
const MAX_IN_FLIGHT = 256;
/** libuv gives two threads to such questions; the other is left to our own, as for the database's name. */
const MAX_SYSTEM_IN_FLIGHT = 1;
/** Answers that say there is no such name, or no such record. */
const ABSENT = new Set(['ENOTFOUND', 'ENODATA']);
const LOOPBACK = ['127.0.0.1', '::1'];

/**
 * Names to addresses, for names that strangers choose. With c-ares, for `dns.lookup` waits in libuv's
 * threads, two at a time: of eight names whose server never answers the last was done after 40 s
 * (measured, glibc's defaults), and so would be everyone else's. Bounded in time and number; those who
 * ask for one name at once share its answer.
 */
export function createNameResolver(options: NameResolverOptions): NameResolver {
  const { timeoutMs = 2_000, monotonic = () => performance.now() } = options;
  const findInHostsFile = createHostsFile(options.hostsFile);
  const inFlight = pLimit(MAX_IN_FLIGHT);
  const systemInFlight = pLimit(MAX_SYSTEM_IN_FLIGHT);
  const held = new Map<string, { addresses: Promise<string[]>; untilMs: number }>();

  function resolve(host: string): Promise<string[]> {
    const name = normalName(host);
    const known = held.get(name);
    if (known !== undefined && monotonic() < known.untilMs) return known.addresses;
    const addresses = withinTime(ask(name, monotonic() + timeoutMs), name);
    const entry = { addresses, untilMs: Number.POSITIVE_INFINITY };
    const holdOn = () => {
      entry.untilMs = monotonic() + HELD_MS;
    };
    addresses.then(holdOn, holdOn);
    held.delete(name);
    held.set(name, entry);
    if (held.size > MAX_HELD) held.delete(held.keys().next().value!);
    return addresses;
  }

  async function ask(name: string, endMs: number): Promise<string[]> {
    // RFC 6761, section 6.3: these are loopback and are never asked for.
    if (name === 'localhost' || name.endsWith('.localhost')) return LOOPBACK;
    const local = await findInHostsFile(name);
    if (local.length > 0) return local;
    const answer = await inFlight(() => askDns(name));
    if (Array.isArray(answer)) return answer;
    if (options.usesSystem && !isLate(answer.code)) {
      return systemInFlight(() => askSystem(name, endMs));
    }
    throw answer;
  }

  /** A resolver for each question takes 27 µs, sees a resolv.conf that changed, and can be cut off alone. */
  async function askDns(name: string): Promise<string[] | NameNotResolved> {
    // Two tries, the second with twice the patience, fit into the time of the whole.
    const resolver = new Resolver({ timeout: Math.ceil(timeoutMs / 3), tries: 2 });
    if (options.servers) resolver.setServers(options.servers);
    const timer = setTimeout(() => resolver.cancel(), timeoutMs);
    const answers = await Promise.allSettled([resolver.resolve4(name), resolver.resolve6(name)]);
    clearTimeout(timer);
    const found = answers.flatMap((each) => (each.status === 'fulfilled' ? each.value : []));
    if (found.length > 0) return found;
    const codes = answers.flatMap((each) => (each.status === 'rejected' ? [each.reason.code] : []));
    return notResolved(name, codes.find((code) => !ABSENT.has(code)) ?? 'ENOTFOUND');
  }

  async function askSystem(name: string, endMs: number): Promise<string[]> {
    if (monotonic() > endMs) throw notResolved(name, 'ETIMEOUT');
    try {
      const found = await lookup(name, { all: true, order: 'ipv4first' });
      return found.map(({ address }) => address);
    } catch (error) {
      throw notResolved(name, (error as { code: string }).code);
    }
  }

  function withinTime<Result>(work: Promise<Result>, name: string): Promise<Result> {
    let timer: NodeJS.Timeout | undefined;
    const late = new Promise<never>((_, reject) => {
      timer = setTimeout(() => reject(notResolved(name, 'ETIMEOUT')), timeoutMs);
    });
    return Promise.race([work, late]).finally(() => clearTimeout(timer));
  }

  return { resolve };
}

function notResolved(name: string, code: string): NameNotResolved {
  const why = ABSENT.has(code) ? 'it has no address' : isLate(code) ? 'no answer in time' : code;
  return new NameNotResolved(code, `${name} could not be resolved: ${why}`);
}

/** c-ares says that it gave up, or that it was cut off. */
function isLate(code: string): boolean {
  return code === 'ETIMEOUT' || code === 'ECANCELLED';
}
