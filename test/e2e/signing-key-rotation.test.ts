import type { Server } from 'node:http';
import { createLocalJWKSet, createRemoteJWKSet, jwtVerify, type JWTVerifyGetKey } from 'jose';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { makeSigningKey } from '../../src/api/signing-key.ts';
import { rotateSigningKey } from '../../src/store/signing-key.ts';
import { type ApiFixture, createApiFixture } from '../api/api-fixture.ts';
import { type Bench, startBench } from '../support/dispatcher.ts';
import { close, listen, serverUrl } from '../support/sign.ts';
import { type Answer, startTarget, type Target } from '../support/target.ts';

/** Caches of 1 s instead of 300, and a lead of 4 s instead of an hour: the same order, in less time. */
const CACHE_MS = 1_000;
const LEAD_SECONDS = 4;
const IN_FLIGHT = 16;
/** So many calls are verified before, and so many after the change. */
const ENOUGH = 100;

let api: ApiFixture;
let bench: Bench;
let issuer: Server;
let target: Target;

beforeAll(async () => {
  issuer = await listen(async (request, response) => {
    const answer = await api.api.request(request.url!);
    response.writeHead(answer.status, Object.fromEntries(answer.headers));
    response.end(await answer.text());
  });
  bench = await startBench({ publicUrl: serverUrl(issuer) });
  api = await createApiFixture({ database: bench.database, publicUrl: serverUrl(issuer) });
  target = await startTarget();
});
afterAll(async () => {
  await target.close();
  await close(issuer);
  await api.close();
  await bench.close();
});

/** As an HTTP cache does it: what is fresh is used, and an unknown key is no reason to ask again. */
function strictlyCached(url: URL): JWTVerifyGetKey {
  let keys: Promise<JWTVerifyGetKey> | null = null;
  let fetchedAtMs = 0;
  return async (header, token) => {
    if (keys === null || performance.now() - fetchedAtMs >= CACHE_MS) {
      fetchedAtMs = performance.now();
      keys = fetch(url).then(async (response) =>
        createLocalJWKSet((await response.json()) as never),
      );
    }
    return (await keys)(header, token);
  };
}

describe('errand signing-key rotate', () => {
  test('under load, no worker that caches the JWKS refuses a single token', async () => {
    const url = new URL('/.well-known/jwks.json', serverUrl(issuer));
    const workers = [
      strictlyCached(url),
      createRemoteJWKSet(url, { cacheMaxAge: CACHE_MS, cooldownDuration: 30_000 }),
    ];
    const verified = new Map<string, number>();
    const failures: string[] = [];
    target.answer = verifying(workers, verified, failures);

    await underLoad(() => [...verified.values()].some((count) => count >= ENOUGH));
    const [first] = verified.keys();
    const next = await makeSigningKey('EdDSA');
    await bench.database.run((sql) => rotateSigningKey(sql, 'default', next, LEAD_SECONDS));
    await underLoad(() => (verified.get(next.kid) ?? 0) >= ENOUGH);

    expect(failures).toEqual([]);
    expect([...verified.keys()]).toEqual([first, next.kid]);
  });
});

function verifying(
  workers: JWTVerifyGetKey[],
  verified: Map<string, number>,
  failures: string[],
): Answer {
  return async ({ headers }, response) => {
    const token = String(headers['errand-authorization']).replace('Bearer ', '');
    try {
      for (const keys of workers) {
        const { protectedHeader } = await jwtVerify(token, keys, {
          issuer: serverUrl(issuer),
          audience: target.url,
        });
        const kid = protectedHeader.kid!;
        verified.set(kid, (verified.get(kid) ?? 0) + 1);
      }
    } catch (error) {
      failures.push(String(error));
    }
    response.end();
  };
}

/** Keeps calls in flight until enough was seen. */
async function underLoad(isEnough: () => boolean): Promise<void> {
  while (!isEnough()) {
    const before = target.arrivals.length;
    await bench.enqueue(...Array.from({ length: IN_FLIGHT }, () => ({ url: target.url })));
    await target.arrived(before + IN_FLIGHT);
  }
}
