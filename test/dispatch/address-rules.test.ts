import { describe, expect, test } from 'vitest';
import { createAddressRules } from '../../src/dispatch/address-rules.ts';
import { PUBLIC_ADDRESSES, REFUSED_ADDRESSES } from '../hostile/target-vectors.ts';

const NOT_PUBLIC = 'not a public address, nor on ERRAND_TARGET_ALLOW';
const NOT_SECURE = 'only targets on ERRAND_TARGET_ALLOW are called by http, use https';

function refusal(address: string, allow: readonly string[] = [], more = {}) {
  const destination = { host: address, port: 443, isSecure: true, ...more };
  return createAddressRules({ allow }).refusal(address, destination);
}

describe('refusal()', () => {
  test.each(REFUSED_ADDRESSES)('refuses %s', (address) => {
    expect(refusal(address)).toBe(NOT_PUBLIC);
  });

  test.each(PUBLIC_ADDRESSES)('allows %s', (address) => {
    expect(refusal(address)).toBeNull();
  });

  test.each([
    ['10.1.2.3', ['10.0.0.0/8'], true],
    ['11.1.2.3', ['10.0.0.0/8'], true],
    ['192.168.0.1', ['10.0.0.0/8'], false],
    ['10.0.0.5', ['10.0.0.5'], true],
    ['10.0.0.6', ['10.0.0.5'], false],
    ['fd00::5', ['fd00::/8'], true],
    ['fe80::5', ['fd00::/8'], false],
    ['127.9.9.9', ['loopback'], true],
    ['::1', ['loopback'], true],
    ['::2', ['loopback'], false],
    ['10.0.0.1', ['loopback'], false],
    ['::ffff:7f00:1', ['loopback'], true],
    ['::ffff:10.0.0.1', ['loopback'], false],
    ['::ffff:10.0.0.5', ['10.0.0.5'], true],
    ['64:ff9b::7f00:1', ['loopback'], false],
  ] as const)('%s with %j on the allow-list: %s', (address, allow, expected) => {
    expect(refusal(address, allow) === null).toBe(expected);
  });

  test.each([
    ['169.254.169.254', ['0.0.0.0/0'], false],
    ['169.254.169.254', ['169.254.0.0/16'], false],
    ['::ffff:169.254.169.254', ['::/0', '0.0.0.0/0'], false],
    ['fd00:ec2::254', ['fd00::/8'], false],
    ['100.100.100.200', ['100.64.0.0/10'], false],
    ['169.254.169.254', ['169.254.169.254'], true],
    ['169.254.1.1', ['169.254.0.0/16'], true],
  ] as const)('metadata at %s with %j on the allow-list: %s', (address, allow, expected) => {
    expect(refusal(address, allow) === null).toBe(expected);
  });

  test('a name on the allow-list may resolve to any address, in any case, and no other name may', () => {
    const named = (allow: string, host: string) => refusal('10.0.0.1', [allow], { host });
    expect(named('worker.internal', 'Worker.Internal')).toBeNull();
    expect(named('Worker.Internal', 'worker.internal.')).toBeNull();
    expect(named('worker.internal', 'a.worker.internal')).not.toBeNull();
    expect(named('worker.internal', 'worker.internal.evil.example')).not.toBeNull();
  });

  test('a name on the allow-list does not lead to the metadata of a cloud', () => {
    const host = 'worker.internal';
    expect(refusal('169.254.169.254', [host], { host })).toBe(NOT_PUBLIC);
  });

  test('public addresses are called by https, unless the list says http', () => {
    const plain = { isSecure: false, port: 80 };
    expect(refusal('1.1.1.1', [], plain)).toBe(NOT_SECURE);
    expect(refusal('1.1.1.1', ['http'], plain)).toBeNull();
    expect(refusal('1.1.1.1', ['1.1.1.1'], plain)).toBeNull();
    expect(refusal('127.0.0.1', ['loopback'], plain)).toBeNull();
  });

  test.each([22, 25, 53, 110, 143, 389, 465, 587, 993, 2049, 6000, 6667])(
    'port %i is for other protocols, unless the address is on the list',
    (port) => {
      expect(refusal('1.1.1.1', [], { port })).toContain(`port ${port}`);
      expect(refusal('1.1.1.1', ['1.1.1.0/24'], { port })).toBeNull();
    },
  );

  test.each([80, 443, 3000, 8000, 8080, 8443, 65535])('port %i is open', (port) => {
    expect(refusal('1.1.1.1', [], { port })).toBeNull();
  });
});

describe('refusalOfName()', () => {
  function ofName(host: string, allow: readonly string[] = [], more = {}) {
    const destination = { host, port: 443, isSecure: true, ...more };
    return createAddressRules({ allow }).refusalOfName(destination);
  }

  test('knows nothing against a name that might be public', () => {
    expect(ofName('worker.example')).toBeNull();
  });

  test.each(['metadata.google.internal', 'METADATA.google.internal.', 'metadata.goog'])(
    'refuses %s',
    (host) => {
      expect(ofName(host)).toBe(NOT_PUBLIC);
      expect(ofName(host, ['10.0.0.0/8'])).toBe(NOT_PUBLIC);
    },
  );

  test('refuses plain http where no address could be allowed', () => {
    const plain = { isSecure: false, port: 80 };
    expect(ofName('worker.example', [], plain)).toBe(NOT_SECURE);
    expect(ofName('worker.example', ['worker.example'], plain)).toBeNull();
    expect(ofName('worker.example', ['10.0.0.0/8'], plain)).toBeNull();
    expect(ofName('worker.example', ['http'], plain)).toBeNull();
  });
});
