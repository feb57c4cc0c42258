import { connect } from 'node:net';
import { networkInterfaces } from 'node:os';
import { afterEach, describe, expect, test } from 'vitest';
import {
  createTargetGuard,
  destinationOf,
  TargetBlocked,
  type TargetRules,
} from '../../src/dispatch/guard.ts';
import type { NameResolver } from '../../src/dispatch/name-resolver.ts';
import { startRawServer } from '../support/raw-server.ts';

const NAMES: Record<string, string[]> = {
  'public.example': ['1.1.1.1', '2606:4700::1'],
  'private.example': ['10.0.0.1'],
  'mixed.example': ['1.1.1.1', '10.0.0.1'],
  'loopback.example': ['127.0.0.1'],
  'db.internal': ['10.0.0.7'],
};

const cleanups: (() => Promise<unknown>)[] = [];

afterEach(async () => {
  for (const cleanUp of cleanups.splice(0)) await cleanUp();
});

function createGuard(rules: Partial<TargetRules> = {}, names = NAMES) {
  const resolver: NameResolver = {
    async resolve(host) {
      return names[host] ?? Promise.reject(new Error(`no name ${host}`));
    },
  };
  return createTargetGuard({ allow: [], ...rules }, resolver);
}

type Guard = ReturnType<typeof createGuard>;

function lookUp(guard: Guard, url: string, options = { all: true }): Promise<unknown> {
  const destination = destinationOf(new URL(url));
  return new Promise((done, reject) => {
    guard.lookupFor(destination)(destination.host, options, (error, addresses) =>
      error ? reject(error) : done(addresses),
    );
  });
}

const admit = (guard: Guard, url: string) => guard.admit(destinationOf(new URL(url)));

function interfaceAddress(): string | undefined {
  const all = Object.values(networkInterfaces()).flatMap((each) => each ?? []);
  return all.find(({ family, internal }) => family === 'IPv4' && !internal)?.address;
}

describe('lookupFor()', () => {
  test('gives the addresses of a public name, all or the first', async () => {
    const url = 'https://public.example/';
    expect(await lookUp(createGuard(), url)).toEqual([
      { address: '1.1.1.1', family: 4 },
      { address: '2606:4700::1', family: 6 },
    ]);
    expect(await lookUp(createGuard(), url, { all: false })).toBe('1.1.1.1');
  });

  test.each(['private.example', 'loopback.example', 'mixed.example'])(
    'refuses %s, and does not say where it leads',
    async (name) => {
      await expect(lookUp(createGuard(), `https://${name}/`)).rejects.toThrow(
        `${name}: not a public address, nor on ERRAND_TARGET_ALLOW`,
      );
    },
  );

  test('refuses plain http to a public name, unless it is allowed', async () => {
    const url = 'http://public.example/';
    await expect(lookUp(createGuard(), url)).rejects.toThrow('use https');
    expect(await lookUp(createGuard({ allow: ['http'] }), url)).toHaveLength(2);
  });

  test('gives a name on the list whatever it resolves to', async () => {
    const guard = createGuard({ allow: ['private.example'] });
    expect(await lookUp(guard, 'http://private.example/')).toHaveLength(1);
  });

  test('passes on what the resolver says of a name that is not there', async () => {
    await expect(lookUp(createGuard(), 'https://absent.example/')).rejects.toThrow('no name');
  });
});

describe('admit()', () => {
  test('refuses a literal and says why', async () => {
    await expect(admit(createGuard(), 'https://[::ffff:10.0.0.1]/')).rejects.toThrow(
      '::ffff:a00:1: not a public address, nor on ERRAND_TARGET_ALLOW',
    );
  });

  test('leaves names to the lookup', async () => {
    await expect(admit(createGuard(), 'https://private.example/')).resolves.toBeUndefined();
  });
});

describe('refused endpoints', () => {
  const allow = ['loopback', '0.0.0.0/0', '::/0', 'db.internal', 'http'];

  test.each([
    ['127.0.0.1', '127.0.0.1'],
    ['127.0.0.1', '127.0.0.2'],
    ['127.0.0.1', '[::1]'],
    ['127.0.0.1', '[::ffff:7f00:1]'],
    ['127.0.0.1', '0.0.0.0'],
    ['localhost', '127.0.0.1'],
    ['0.0.0.0', '127.0.0.1'],
    ['::', '[::1]'],
    ['::1', '127.0.0.1'],
    ['10.0.0.7', '10.0.0.7'],
    ['10.0.0.7', '[::ffff:10.0.0.7]'],
  ])('one at %s is not called at %s, though everything is allowed', async (host, literal) => {
    const guard = createGuard({ allow, refusedEndpoints: [{ host, port: 5432 }] });
    await expect(admit(guard, `http://${literal}:5432/`)).rejects.toThrow(TargetBlocked);
    await expect(admit(guard, `http://${literal}:5433/`)).resolves.toBeUndefined();
    expect(guard.refusal(new URL(`http://${literal}:5432/`))).toMatch('Errand or its database');
    expect(guard.refusal(new URL(`http://${literal}:5433/`))).toBeNull();
  });

  test('one on every address of this machine is not called at any of them', async (context) => {
    const own = interfaceAddress();
    if (own === undefined) return context.skip('this machine has no address but loopback');
    for (const host of ['0.0.0.0', '::', '127.0.0.1', own]) {
      const guard = createGuard({ allow, refusedEndpoints: [{ host, port: 8484 }] });
      for (const target of [own, '127.0.0.1']) {
        await expect(admit(guard, `http://${target}:8484/`)).rejects.toThrow(TargetBlocked);
      }
      await expect(admit(guard, 'http://10.11.12.13:8484/')).resolves.toBeUndefined();
    }
  });

  test('one that has a name is called neither by it nor at the addresses it leads to', async () => {
    const names = { ...NAMES, 'alias.example': ['10.0.0.7'], 'other.example': ['10.0.0.8'] };
    const rules = { allow, refusedEndpoints: [{ host: 'DB.internal', port: 5432 }] };
    const guard = createGuard(rules, { ...names, 'DB.internal': ['10.0.0.7'] });
    await expect(lookUp(guard, 'http://db.internal:5432/')).rejects.toThrow(
      'its database listens there',
    );
    await expect(lookUp(guard, 'http://alias.example:5432/')).rejects.toThrow(TargetBlocked);
    await expect(admit(guard, 'http://10.0.0.7:5432/')).rejects.toThrow(TargetBlocked);
    expect(guard.refusal(new URL('http://db.internal:5432/'))).toMatch('its database');
    expect(await lookUp(guard, 'http://other.example:5432/')).toHaveLength(1);
    expect(await lookUp(guard, 'http://db.internal:80/')).toHaveLength(1);
  });

  test('one whose name fails is known by where it led before', async () => {
    const names: Record<string, string[]> = { 'db.internal': ['10.0.0.7'] };
    const rules = { allow, refusedEndpoints: [{ host: 'db.internal', port: 5432 }] };
    const guard = createGuard(rules, names);
    await expect(admit(guard, 'http://10.0.0.7:5432/')).rejects.toThrow(TargetBlocked);
    delete names['db.internal'];
    await expect(admit(guard, 'http://10.0.0.7:5432/')).rejects.toThrow(TargetBlocked);
  });

  test('a name that leads to one of ours is refused', async () => {
    const guard = createGuard({ allow, refusedEndpoints: [{ host: '127.0.0.1', port: 8484 }] });
    await expect(lookUp(guard, 'http://loopback.example:8484/')).rejects.toThrow(
      'loopback.example: Errand or its database listens there, so it is never called',
    );
    expect(await lookUp(guard, 'http://loopback.example:8485/')).toHaveLength(1);
  });
});

describe('refusal()', () => {
  const refusal = (url: string, allow: string[] = []) =>
    createGuard({ allow }).refusal(new URL(url));

  test.each([
    ['https://127.0.0.1/', 'not a public address, nor on ERRAND_TARGET_ALLOW'],
    ['https://2130706433/', 'not a public address, nor on ERRAND_TARGET_ALLOW'],
    ['https://[::1]/', 'not a public address, nor on ERRAND_TARGET_ALLOW'],
    ['https://localhost/', 'not a public address, nor on ERRAND_TARGET_ALLOW'],
    ['https://app.localhost./', 'not a public address, nor on ERRAND_TARGET_ALLOW'],
    ['https://metadata.google.internal/', 'not a public address, nor on ERRAND_TARGET_ALLOW'],
    ['http://1.1.1.1/', 'only targets on ERRAND_TARGET_ALLOW are called by http, use https'],
    ['https://1.1.1.1:25/', 'port 25 is for other protocols than http'],
  ])('of %s: %s', (url, expected) => {
    expect(refusal(url)).toBe(expected);
  });

  test.each([
    ['https://1.1.1.1/', []],
    ['https://private.example/', []],
    ['http://localhost:3000/', ['loopback']],
    ['http://worker:3000/', ['worker']],
    ['http://worker:3000/', ['10.0.0.0/8']],
    ['http://public.example/', ['http']],
  ])('has nothing against %s with %j on the list', (url, allow) => {
    expect(refusal(url, allow)).toBeNull();
  });
});

describe('checkSocket()', () => {
  test('sees through the mapped form that a dual-stack socket reports', async () => {
    const server = await startRawServer(() => {}, '::');
    cleanups.push(server.close);
    const socket = connect(server.port, '::ffff:127.0.0.1');
    cleanups.push(async () => socket.destroy());
    await new Promise<void>((done) => socket.once('connect', done));
    const destination = { host: 'rebound.example', port: server.port, isSecure: true };
    expect(() => createGuard().checkSocket(socket, destination)).toThrow(TargetBlocked);
    const allowing = createGuard({ allow: ['loopback'] });
    expect(() => allowing.checkSocket(socket, destination)).not.toThrow();
  });
});
