import { networkInterfaces } from 'node:os';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { createTargetGuard, type TargetRules } from '../../src/dispatch/guard.ts';
import { createNameResolver } from '../../src/dispatch/name-resolver.ts';
import { startPoster } from '../dispatch/post-fixture.ts';
import { type DnsAnswer, type DnsServer, startDnsServer } from '../support/dns-server.ts';
import { type RawServer, startRawServer } from '../support/raw-server.ts';
import { until } from '../support/until.ts';
import { NO_URL, REFUSED_ADDRESSES, REFUSED_SPELLINGS, TRICKS } from './target-vectors.ts';

const OK = 'HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n';

/** Names that lead to the canary in every way a name can; `*` of a name is any number. */
const NAMES: Record<string, DnsAnswer> = {
  'loopback.example': ['127.0.0.1'],
  'loopback2.example': ['127.0.0.2'],
  'six.example': ['::1'],
  'mapped.example': ['::ffff:7f00:1'],
  'unspecified.example': ['0.0.0.0'],
  'unspecified6.example': ['::'],
  'good-and-bad.example': ['1.1.1.1', '127.0.0.1'],
  'bad-and-good.example': ['127.0.0.1', '1.1.1.1'],
  'good-and-bad6.example': ['1.1.1.1', '::1'],
  'nat64.example': ['64:ff9b::7f00:1'],
  '6to4.example': ['2002:7f00:1::1'],
  'metadata.example': ['169.254.169.254'],
  '127.0.0.1.nip.example': ['127.0.0.1'],
};

/** Listens at every address of this machine: whatever gets through to it has passed the rules. */
let canary: RawServer;
let dns: DnsServer;

beforeAll(async () => {
  canary = await startRawServer((socket) => socket.end(OK), '::');
  const own = Object.values(networkInterfaces()).flatMap((each) => each ?? []);
  for (const [at, { address }] of own.entries()) NAMES[`own-${at}.example`] = [address];
  dns = await startDnsServer((name) => NAMES[name]);
});

afterAll(async () => {
  await canary.close();
  await dns.close();
});

/** Plain http and all ports are open, so that nothing but the address can be the reason. */
function start(rules: Partial<TargetRules> = {}) {
  const resolver = createNameResolver({ servers: [dns.address], usesSystem: false });
  const guard = createTargetGuard({ allow: ['http'], ...rules }, resolver);
  const call = startPoster({ guard, connections: 8 });
  const post = (url: string) => call(url, { deadlineMs: 5_000 });
  return { guard, post };
}

describe('promise 8: nothing reaches a refused address', () => {
  test('in any spelling, by http or https', async () => {
    const { guard, post } = start();
    const before = canary.accepted();
    for (const scheme of ['http', 'https']) {
      for (const host of REFUSED_SPELLINGS) {
        const url = `${scheme}://${host}:${canary.port}/`;
        expect([url, guard.refusal(new URL(url))]).toEqual([
          url,
          'not a public address, nor on ERRAND_TARGET_ALLOW',
        ]);
        expect([url, await post(url)]).toMatchObject([url, { outcome: 'blocked' }]);
      }
    }
    expect(canary.accepted()).toBe(before);
  });

  test('as a literal', async () => {
    const { post } = start();
    const before = canary.accepted();
    for (const address of REFUSED_ADDRESSES.filter((each) => !each.includes('%'))) {
      const url = `http://${address.includes(':') ? `[${address}]` : address}:${canary.port}/`;
      expect([url, await post(url)]).toMatchObject([url, { outcome: 'blocked' }]);
    }
    expect(canary.accepted()).toBe(before);
  });

  test('by tricks with user names, backslashes and the like', async () => {
    const { post } = start();
    const before = canary.accepted();
    for (const [trick, host] of TRICKS) {
      const url = new URL(trick);
      expect([trick, url.hostname]).toEqual([trick, host]);
      url.port = String(canary.port);
      expect([trick, await post(url.href)]).toMatchObject([trick, { outcome: 'blocked' }]);
    }
    expect(canary.accepted()).toBe(before);
  });

  test.each(NO_URL)('%s is no URL at all', (url) => {
    expect(URL.canParse(url)).toBe(false);
  });

  test('by a name, also one of which some addresses are public', async () => {
    const { post } = start();
    const before = canary.accepted();
    for (const name of Object.keys(NAMES)) {
      for (const scheme of ['http', 'https']) {
        const answer = await post(`${scheme}://${name}:${canary.port}/`);
        expect([name, answer]).toMatchObject([name, { outcome: 'blocked' }]);
        const { error } = answer as { error: string };
        expect(error.replace(name, '')).not.toMatch(/\d/);
      }
    }
    expect(canary.accepted()).toBe(before);
  });

  test('by a redirect', async () => {
    const location = `http://[::1]:${canary.port}/`;
    const before = canary.accepted();
    for (const status of [301, 302, 303, 307, 308]) {
      const redirecting = await startRawServer((socket) => {
        socket.end(`HTTP/1.1 ${status} X\r\nlocation: ${location}\r\ncontent-length: 0\r\n\r\n`);
      });
      const { post } = start({ allow: ['127.0.0.1'] });
      expect(await post(redirecting.url)).toMatchObject({ outcome: 'responded', status });
      await redirecting.close();
    }
    expect(canary.accepted()).toBe(before);
  });

  test('by a name that leads elsewhere once it was checked', async () => {
    let questions = 0;
    const turning = await startDnsServer(() => (++questions <= 2 ? ['1.1.1.1'] : ['127.0.0.1']));
    const resolver = createNameResolver({ servers: [turning.address], usesSystem: false });
    const guard = createTargetGuard({ allow: [] }, resolver);
    const destination = { host: 'rebinding.example', port: canary.port, isSecure: true };
    // What was checked is what the connection gets, and not what a second question would bring.
    const given = await new Promise((done) =>
      guard.lookupFor(destination)('rebinding.example', { all: true }, (_, all) => done(all)),
    );
    expect(given).toEqual([{ address: '1.1.1.1', family: 4 }]);
    expect(turning.asked).toHaveLength(2);
    await turning.close();
  });

  test.each(['http', 'https'])(
    'where the lookup lies, a byte of %s: the socket is checked again',
    async (scheme) => {
      const { guard } = start();
      const lying = createTargetGuard({ allow: ['loopback'] }).lookupFor;
      const post = startPoster({ guard: { ...guard, lookupFor: lying } });
      const before = canary.received();
      const answer = await post(`${scheme}://localhost:${canary.port}/`);
      expect(answer).toMatchObject({ outcome: 'blocked' });
      await until(() => canary.open() === 0);
      expect(canary.received()).toBe(before);
    },
  );

  test('at our own port and the database’s, whatever is allowed', async () => {
    const refusedEndpoints = [{ host: '127.0.0.1', port: canary.port }];
    const allow = ['loopback', '0.0.0.0/0', '::/0', 'http'];
    const { post } = start({ allow, refusedEndpoints });
    const before = canary.accepted();
    const names = ['loopback.example', 'six.example', 'own-0.example', 'good-and-bad.example'];
    for (const host of [
      '127.0.0.1',
      '127.0.0.9',
      '[::1]',
      '[::ffff:127.0.0.1]',
      'localhost',
      ...names,
    ]) {
      const answer = await post(`http://${host}:${canary.port}/`);
      expect([host, answer]).toMatchObject([host, { outcome: 'blocked' }]);
    }
    expect(canary.accepted()).toBe(before);
  });

  test('at our own port, also once the same name was called at another', async () => {
    const fair = await startRawServer((socket) => socket.end(OK), '::');
    const refusedEndpoints = [{ host: '127.0.0.1', port: canary.port }];
    const { post } = start({ allow: ['loopback', 'loopback.example'], refusedEndpoints });
    const before = canary.accepted();
    for (const host of ['loopback.example', '127.0.0.1']) {
      expect(await post(`http://${host}:${fair.port}/`)).toMatchObject({ status: 200 });
      expect(await post(`http://${host}:${canary.port}/`)).toMatchObject({ outcome: 'blocked' });
    }
    expect(canary.accepted()).toBe(before);
    await fair.close();
  });

  test('and the canary is reached when it is allowed', async () => {
    const { post } = start({ allow: ['loopback'] });
    const before = canary.accepted();
    for (const host of ['127.0.0.1', 'localhost', '[::ffff:127.0.0.1]', 'loopback.example']) {
      const answer = await post(`http://${host}:${canary.port}/`);
      expect([host, answer]).toMatchObject([host, { outcome: 'responded', status: 200 }]);
    }
    expect(canary.accepted()).toBe(before + 4);
  });
});
