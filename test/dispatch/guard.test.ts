import type { LookupAddress } from 'node:dns';
import { connect } from 'node:net';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { createTargetGuard, TargetBlocked } from '../../src/dispatch/guard.ts';
import { createPoster } from '../../src/dispatch/post.ts';
import { type RawServer, startRawServer } from '../support/raw-server.ts';
import { until } from '../support/until.ts';

const guard = createTargetGuard({ allow: [] });

function isAllowed(address: string, allow: readonly string[] = [], host = address): boolean {
  try {
    createTargetGuard({ allow }).checkAddress(address, host);
    return true;
  } catch (error) {
    if (error instanceof TargetBlocked) return false;
    throw error;
  }
}

/** Spellings that a URL may have for one address; WHATWG parsing makes one literal of each. */
const SPELLINGS = [
  ...['127.0.0.1', '2130706433', '0x7f000001', '0X7F.0.0.1', '0177.0.0.1', '017700000001'],
  ...['127.1', '127.0.1', '0x7f.1', '127.0.0.1.', '%31%32%37.0.0.1', '①②⑦.0.0.1', '127。0。0。1'],
  ...['0', '0.0.0.0', '0x0', '10.0.0.1', '10.1', '167772161', '012.0.0.1'],
  ...['169.254.169.254', '2852039166', '0xa9fea9fe', '0251.0376.0251.0376', '169.16689662'],
  ...['168.63.129.16', '2822734096', '192.168.1.1', '3232235777', '172.16.0.1', '0xac.0x10.1'],
  ...['[::1]', '[0:0:0:0:0:0:0:1]', '[::]', '[::127.0.0.1]', '[::ffff:127.0.0.1]'],
  ...['[::ffff:7f00:1]', '[0:0:0:0:0:FFFF:7F00:1]', '[::ffff:169.254.169.254]'],
];

const REFUSED_ADDRESSES = [
  ...['0.0.0.0', '0.1.2.3', '10.255.255.255', '100.64.0.0', '100.127.255.255', '127.255.255.255'],
  ...['169.254.0.1', '169.254.169.254', '172.16.0.0', '172.31.255.255', '192.0.0.1', '192.0.0.192'],
  ...['192.0.2.1', '192.31.196.1', '192.52.193.1', '192.88.99.1', '192.168.255.255'],
  ...['192.175.48.1', '198.18.0.1', '198.19.255.255', '198.51.100.1', '203.0.113.1'],
  ...['224.0.0.1', '239.255.255.255', '240.0.0.1', '255.255.255.255', '168.63.129.16'],
  // IPv6 that is or embeds IPv4: compatible, mapped, translated, NAT64, 6to4, Teredo, ISATAP.
  ...['::', '::1', '::7f00:1', '::ffff:7f00:1', '::ffff:808:808', '::ffff:0:7f00:1'],
  ...['64:ff9b::7f00:1', '64:ff9b::808:808', '64:ff9b:1::a00:1', '2002:7f00:1::', '2002:a00:1::1'],
  ...['2001::1', '2001:0:7f00:1::', '2001:10::1', '2001:20::1', '2001:db8::1', '3fff::1'],
  ...['fc00::1', 'fd00:ec2::254', 'fe80::1', 'fe80::1%eth0', 'fe80::5efe:7f00:1', 'febf::1'],
  ...['fec0::1', 'ff02::1', '100::1', '5f00::1', '2620:4f:8000::1', '4000::1'],
];

const PUBLIC_ADDRESSES = [
  ...['1.1.1.1', '8.8.8.8', '9.255.255.255', '11.0.0.0', '100.63.255.255', '100.128.0.0'],
  ...['126.255.255.255', '128.0.0.1', '168.63.129.15', '169.253.255.255', '172.15.255.255'],
  ...['172.32.0.0', '192.0.1.1', '192.167.255.255', '192.169.0.0', '198.17.255.255', '198.20.0.0'],
  ...['223.255.255.255', '2001:200::1', '2001:4860:4860::8888', '2606:4700:4700::1111', '2a00::1'],
];

describe('checkAddress()', () => {
  test.each(SPELLINGS)('refuses http://%s/', (spelling) => {
    const host = new URL(`http://${spelling}/`).hostname.replace(/^\[|\]$/g, '');
    expect(isAllowed(host)).toBe(false);
  });

  test.each(REFUSED_ADDRESSES)('refuses %s', (address) => {
    expect(isAllowed(address)).toBe(false);
  });

  test.each(PUBLIC_ADDRESSES)('allows %s', (address) => {
    expect(isAllowed(address)).toBe(true);
  });

  test('says what was refused and how to allow it', () => {
    expect(() => guard.checkAddress('10.0.0.1', 'db.internal')).toThrow(
      'db.internal resolves to 10.0.0.1, which is not a public address: set ERRAND_TARGET_ALLOW to call it',
    );
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
    expect(isAllowed(address, allow)).toBe(expected);
  });

  test('a name on the allow-list may resolve to any address, in any case, and no other name may', () => {
    expect(isAllowed('10.0.0.1', ['worker.internal'], 'Worker.Internal')).toBe(true);
    expect(isAllowed('10.0.0.1', ['Worker.Internal'], 'worker.internal')).toBe(true);
    expect(isAllowed('10.0.0.1', ['worker.internal'], 'a.worker.internal')).toBe(false);
    expect(isAllowed('10.0.0.1', ['worker.internal'], 'worker.internal.evil.example')).toBe(false);
  });
});

describe('lookup()', () => {
  test('refuses a name that resolves to a private address', async () => {
    await expect(resolve([], 'localhost')).rejects.toThrow(/^localhost resolves to (127\.|::1)/);
  });

  test('gives the addresses of a name that is allowed, all or the first', async () => {
    const all = (await resolve(['loopback'], 'localhost')) as LookupAddress[];
    expect(all.map(({ address }) => address)).toContain('127.0.0.1');
    const first = await resolve(['loopback'], 'localhost', { all: false });
    expect(first).toBe(all[0]!.address);
  });

  test('passes on what the resolver says of a name that is not there', async () => {
    await expect(resolve([], 'no-such-name.invalid')).rejects.toThrow(/ENOTFOUND|EAI_AGAIN/);
  });
});

describe('with a listener that must not be reached', () => {
  let canary: RawServer;

  beforeAll(async () => {
    const ok = 'HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n';
    canary = await startRawServer((socket) => socket.end(ok), '::');
  });

  afterAll(() => canary.close());

  test('promise 8: no connection is made to a refused address, by name or literal', async () => {
    const poster = createPoster({ guard, connections: 8 });
    const before = canary.accepted();
    for (const host of [...SPELLINGS, 'localhost', 'LOCALHOST']) {
      const answer = await poster.post(requestTo(`http://${host}:${canary.port}/`));
      expect([host, answer]).toMatchObject([host, { outcome: 'blocked' }]);
    }
    expect(canary.accepted()).toBe(before);
    await poster.close();
  });

  test('the same listener is reached when it is allowed', async () => {
    const allowing = createTargetGuard({ allow: ['loopback'] });
    const poster = createPoster({ guard: allowing, connections: 8 });
    const before = canary.accepted();
    for (const host of ['127.0.0.1', 'localhost', '[::ffff:127.0.0.1]']) {
      const answer = await poster.post(requestTo(`http://${host}:${canary.port}/`));
      expect([host, answer]).toMatchObject([host, { outcome: 'responded', status: 200 }]);
    }
    expect(canary.accepted()).toBe(before + 3);
    await poster.close();
  });

  test('promise 8: a name rebound after its lookup is refused at the socket, before a byte is sent', async () => {
    const rebound = { ...guard, lookup: createTargetGuard({ allow: ['loopback'] }).lookup };
    const poster = createPoster({ guard: rebound, connections: 8 });
    const before = canary.received();
    const answer = await poster.post(requestTo(`http://localhost:${canary.port}/`));
    expect(answer).toMatchObject({ outcome: 'blocked' });
    await until(() => canary.open() === 0);
    expect(canary.received()).toBe(before);
    await poster.close();
  });

  test('checkSocket() sees through the mapped form that a dual-stack socket reports', async () => {
    const socket = connect(canary.port, '::ffff:127.0.0.1');
    await new Promise<void>((done) => socket.once('connect', done));
    expect(() => guard.checkSocket(socket, 'rebound.example')).toThrow(TargetBlocked);
    const allowing = createTargetGuard({ allow: ['loopback'] });
    expect(() => allowing.checkSocket(socket, 'rebound.example')).not.toThrow();
    socket.destroy();
  });
});

function requestTo(url: string) {
  return {
    project: 'default',
    url: new URL(url).href,
    method: 'POST',
    headers: {},
    body: Buffer.from('secret'),
    deadlineMs: 5_000,
  };
}

function resolve(allow: string[], host: string, options: { all?: boolean } = { all: true }) {
  return new Promise((done, reject) => {
    createTargetGuard({ allow }).lookup(host, options, (error, addresses) =>
      error ? reject(error) : done(addresses),
    );
  });
}
