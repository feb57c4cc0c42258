/**
 * The kinds of settings: each a zod schema from a variable's text to its value, whose message ends the
 * sentence `NAME must be …`.
 */
import { X509Certificate } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { isIP, isIPv4 } from 'node:net';
import { resolve } from 'node:path';
import { z } from 'zod';
import { POOL_NAME_PATTERN } from '../protocol/limits.ts';

export const ROLES = ['api', 'dispatcher', 'scheduler', 'dashboard'] as const;
/** How a dispatcher shares its slots between its queues. */
export const STRATEGIES = ['weighted', 'strict-priority'] as const;
export const LOG_LEVELS = ['trace', 'debug', 'info', 'warn', 'error', 'fatal', 'silent'] as const;

/** A last label of digits alone would be a badly spelt address. */
const HOST_NAME =
  /^(?=.{1,253}$)(?!(.*\.)?\d+$)[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?(\.[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?)*$/i;
const CERTIFICATE = /-----BEGIN CERTIFICATE-----[^-]+-----END CERTIFICATE-----/g;

export function integer(min: number, max: number) {
  const expected = `an integer from ${min} to ${max}`;
  return text()
    .regex(/^\d{1,9}$/, expected)
    .transform(Number)
    .pipe(z.number().min(min, expected).max(max, expected));
}

export function seconds(min: number, max: number) {
  const expected = `a number of seconds from ${min} to ${max}`;
  return text()
    .regex(/^\d{1,9}(\.\d{1,9})?$/, expected)
    .transform(Number)
    .pipe(z.number().min(min, expected).max(max, expected));
}

export function oneOf<const Word extends string>(words: readonly Word[]) {
  return text().pipe(z.enum(words, `one of ${words.join(', ')}`));
}

/** Comma-separated; what is said twice counts once. */
export function list<Item>(item: z.ZodType<Item, string>, expected: string) {
  return text()
    .transform((line) => line.split(',').map((each) => each.trim()))
    .refine((items) => items.every((each) => item.safeParse(each).success), expected)
    .transform((items) => [...new Set(items.map((each) => item.parse(each)))]);
}

export function host() {
  const isHost = (value: string) => isIP(value) > 0 || HOST_NAME.test(value);
  return text().refine(isHost, 'an address or a host name to listen on');
}

export function poolName() {
  return text().regex(
    POOL_NAME_PATTERN,
    '1 to 63 lower-case letters, digits and dashes, not a dash first',
  );
}

export function dataDir() {
  return text().transform((path) => resolve(path));
}

/** A driver's URL may name several hosts, which a WHATWG URL cannot: only the first is looked at. */
export function databaseUrl() {
  return text()
    .regex(/^postgres(ql)?:\/\//, 'a URL of the form postgres://user:password@host:5432/database')
    .refine(
      (url) => URL.canParse(url.replace(/,[^/?]*/, '')),
      'a URL of the form postgres://user:password@host:5432/database, ' +
        'with special characters of the password percent-encoded',
    );
}

export function publicUrl() {
  return text()
    .refine((value) => {
      const url = parseHttpUrl(value);
      return url !== null && !url.search && !url.hash && !url.username && !url.password;
    }, 'an http:// or https:// URL without user, query and fragment')
    .transform((value) => new URL(value).href.replace(/\/+$/, ''));
}

export function proxyUrl() {
  return text().refine((value) => {
    const url = parseHttpUrl(value);
    return url !== null && url.pathname === '/' && !url.search && !url.hash;
  }, 'the URL of a proxy, as http://user:password@proxy.example:3128');
}

/** HTTP cannot carry other characters in a header, nor a space at its ends. */
export function secret(characters: number) {
  return text(false)
    .min(characters, {
      error: ({ input }) => `${characters} or more characters, got ${String(input).length}`,
    })
    .regex(
      /^[\x21-\x7e]([\x20-\x7e]*[\x21-\x7e])?$/,
      'printable ASCII characters, without a space or line break at its ends',
    );
}

/** Base64 in either alphabet, or hex; the first of several wraps, the others only open. */
export function masterKeys() {
  return text().transform((value, context) => {
    const keys = value.split(',').map((each) => masterKey(each.trim()));
    if (keys.every((key) => key !== null)) return keys;
    context.addIssue(
      'a key of 32 bytes in base64 or hex (`errand master-key new` makes one), or several with commas between them',
    );
    return z.NEVER;
  });
}

function masterKey(value: string): Uint8Array | null {
  if (/^[0-9a-f]{64}$/i.test(value)) return Buffer.from(value, 'hex');
  if (!/^[\w+/-]{43}=?$/.test(value)) return null;
  return Buffer.from(value, 'base64');
}

export function targetAllow() {
  const rule = text()
    .refine((value) => value === 'loopback' || isHostOrRange(value))
    .transform((value) => value.toLowerCase());
  return list(rule, 'a comma-separated list of host names, addresses, CIDRs, and `loopback`');
}

/** Read at once, so that a wrong file is known at the start and not at the first call. */
export function certificates() {
  return text().transform((path, context) => {
    try {
      const found = readFileSync(path, 'utf8').match(CERTIFICATE) ?? [];
      for (const each of found) new X509Certificate(each);
      if (found.length > 0) return `${found.join('\n')}\n`;
      context.addIssue('a PEM file of certificates (that file has none)');
    } catch (error) {
      const reason = (error as Error).message.split('\n')[0];
      context.addIssue(`a readable PEM file of certificates (${reason})`);
    }
    return z.NEVER;
  });
}

function text(isTrimmed = true): z.ZodString {
  return isTrimmed ? z.string().trim() : z.string();
}

function parseHttpUrl(value: string): URL | null {
  const url = URL.parse(value);
  return url && /^https?:$/.test(url.protocol) ? url : null;
}

function isHostOrRange(value: string): boolean {
  const [address = '', prefix, ...rest] = value.split('/');
  if (prefix === undefined) return isIP(address) > 0 || HOST_NAME.test(address);
  const bits = isIPv4(address) ? 32 : 128;
  return (
    rest.length === 0 && isIP(address) > 0 && /^\d{1,3}$/.test(prefix) && Number(prefix) <= bits
  );
}
