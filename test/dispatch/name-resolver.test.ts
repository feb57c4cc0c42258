import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, describe, expect, test } from 'vitest';
import { createNameResolver, type NameResolverOptions } from '../../src/dispatch/name-resolver.ts';
import { type DnsAnswer, startDnsServer } from '../support/dns-server.ts';

const cleanups: (() => Promise<unknown>)[] = [];

afterEach(async () => {
  for (const cleanUp of cleanups.splice(0).reverse()) await cleanUp();
});

async function start(names: Record<string, DnsAnswer>, options: Partial<NameResolverOptions> = {}) {
  const server = await startDnsServer((name) => names[name]);
  cleanups.push(server.close);
  const resolver = createNameResolver({ servers: [server.address], usesSystem: false, ...options });
  return { ...resolver, server };
}

async function hostsFile(text: string): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), 'errand-hosts-'));
  cleanups.push(() => rm(folder, { recursive: true }));
  await writeFile(join(folder, 'hosts'), text);
  return join(folder, 'hosts');
}

describe('resolve()', () => {
  test('gives every address of a name, IPv4 first', async () => {
    const { resolve } = await start({ 'worker.example': ['2606:4700::1', '1.1.1.1', '1.0.0.1'] });
    expect(await resolve('Worker.Example.')).toEqual(['1.1.1.1', '1.0.0.1', '2606:4700::1']);
  });

  test('a name with addresses of one family only has these', async () => {
    const { resolve } = await start({ four: ['1.1.1.1'], six: ['2606:4700::1'] });
    expect(await resolve('four')).toEqual(['1.1.1.1']);
    expect(await resolve('six')).toEqual(['2606:4700::1']);
  });

  test('localhost and the names below it are loopback, without a question', async () => {
    const { resolve, server } = await start({ localhost: ['1.1.1.1'], 'a.localhost': ['1.1.1.1'] });
    for (const name of ['localhost', 'LOCALHOST.', 'a.localhost', 'a.b.localhost']) {
      expect(await resolve(name)).toEqual(['127.0.0.1', '::1']);
    }
    expect(server.asked).toEqual([]);
  });

  test('the file of names goes before DNS, and is read again when it changed', async () => {
    const path = await hostsFile('# ours\n10.0.0.1\tdb.internal db # primary\n::1 db\nbad line\n');
    let nowMs = 0;
    const { resolve, server } = await start(
      { db: ['1.1.1.1'] },
      { hostsFile: path, monotonic: () => nowMs },
    );
    expect(await resolve('db')).toEqual(['10.0.0.1', '::1']);
    expect(await resolve('DB.internal')).toEqual(['10.0.0.1']);
    expect(server.asked).toEqual([]);
    await writeFile(path, '10.0.0.2 other\n');
    nowMs += 3_000;
    expect(await resolve('db')).toEqual(['1.1.1.1']);
  });

  test('a name that is not there says so', async () => {
    const { resolve } = await start({ empty: [] });
    for (const name of ['absent.example', 'empty']) {
      await expect(resolve(name)).rejects.toMatchObject({ code: 'ENOTFOUND' });
    }
  });

  test('a name server that fails is told apart from a name that is not there', async () => {
    const { resolve } = await start({ broken: 'failure' });
    await expect(resolve('broken')).rejects.toThrow('broken could not be resolved: ESERVFAIL');
  });

  test('a name whose server is silent ends in time, and keeps no other name waiting', async () => {
    const names: Record<string, DnsAnswer> = { good: ['1.1.1.1'] };
    for (let i = 0; i < 100; i++) names[`silent-${i}`] = 'silence';
    const { resolve } = await start(names, { timeoutMs: 1_000 });
    let ended = 0;
    const silent = Array.from({ length: 100 }, (_, i) =>
      resolve(`silent-${i}`).then(
        () => expect.unreachable(),
        (error) => {
          ended += 1;
          return error.code;
        },
      ),
    );
    expect(await resolve('good')).toEqual(['1.1.1.1']);
    expect(ended).toBe(0);
    for (const code of await Promise.all(silent)) expect(code).toMatch(/ETIMEOUT|ECANCELLED/);
  });

  test('those who ask at once share one answer, which holds for two seconds', async () => {
    let nowMs = 0;
    const { resolve, server } = await start({ a: ['1.1.1.1'] }, { monotonic: () => nowMs });
    await Promise.all(Array.from({ length: 50 }, () => resolve('a')));
    nowMs = 1_999;
    await resolve('A');
    expect(server.asked).toHaveLength(2); // One for each family.
    nowMs = 2_001;
    await resolve('a');
    expect(server.asked).toHaveLength(4);
  });

  test('a failure is held as long, so that retries do not flood the name server', async () => {
    let nowMs = 0;
    const names: Record<string, DnsAnswer> = {};
    const { resolve } = await start(names, { monotonic: () => nowMs });
    await expect(resolve('late')).rejects.toThrow();
    names.late = ['1.1.1.1'];
    await expect(resolve('late')).rejects.toThrow();
    nowMs = 2_001;
    expect(await resolve('late')).toEqual(['1.1.1.1']);
  });

  test('asks the system only where it may', async () => {
    // The C library takes this for an address, and DNS for a name that is not there.
    const without = await start({});
    await expect(without.resolve('127.1')).rejects.toMatchObject({ code: 'ENOTFOUND' });
    const having = await start({}, { usesSystem: true });
    expect(await having.resolve('127.1')).toEqual(['127.0.0.1']);
  });

  test('does not ask the system about a name whose server is silent', async () => {
    const options = { usesSystem: true, timeoutMs: 300 };
    const { resolve } = await start({ '127.1': 'silence' }, options);
    await expect(resolve('127.1')).rejects.toThrow('no answer in time');
  });
});
