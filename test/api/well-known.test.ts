import { createLocalJWKSet, importJWK, jwtVerify, SignJWT } from 'jose';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { makeSigningKey } from '../../src/api/signing-key.ts';
import { TOKEN_ALGORITHMS } from '../../src/protocol/token.ts';
import { ensureSigningKey } from '../../src/store/signing-key.ts';
import { type ApiFixture, createApiFixture, expectProblem } from './api-fixture.ts';

let fixture: ApiFixture;
let call: ApiFixture['call'];

beforeAll(async () => {
  fixture = await createApiFixture();
  ({ call } = fixture);
});
afterAll(() => fixture.close());

describe('wellKnownRoutes()', () => {
  it('publishes keys that verify what the private key signs, and nothing private', async () => {
    const { project } = await fixture.createTenant();
    const key = await ensureSigningKey(fixture.sql, project, () => makeSigningKey());
    const { body, headers } = await call('GET', `/p/${project}/.well-known/jwks.json`);
    expect(headers.get('cache-control')).toBe('public, max-age=300');
    expect(Object.keys(body.keys[0]).sort()).toEqual(['alg', 'crv', 'kid', 'kty', 'use', 'x', 'y']);
    expect(body.keys[0]).toMatchObject({ alg: 'ES256', use: 'sig', kid: key.kid });
    const token = await new SignJWT({ hello: 'there' })
      .setProtectedHeader({ alg: 'ES256', kid: key.kid })
      .sign(await importJWK(key.privateJwk, 'ES256'));
    const { payload } = await jwtVerify(token, createLocalJWKSet(body));
    expect(payload).toEqual({ hello: 'there' });
  });

  it('lets nobody remember that there is no key yet', async () => {
    const { body, headers } = await call('GET', '/.well-known/jwks.json');
    expect(body).toEqual({ keys: [] });
    expect(headers.get('cache-control')).toBe('no-store');
  });

  it('names the issuer of each project', async () => {
    const { project } = await fixture.createTenant();
    const root = await call('GET', '/.well-known/openid-configuration');
    expect(root.headers.get('cache-control')).toBe('public, max-age=300');
    expect(root.body).toMatchObject({
      issuer: 'https://errand.example',
      jwks_uri: 'https://errand.example/.well-known/jwks.json',
      id_token_signing_alg_values_supported: [...TOKEN_ALGORITHMS],
    });
    const other = await call('GET', `/p/${project}/.well-known/openid-configuration`);
    expect(other.body).toMatchObject({
      issuer: `https://errand.example/p/${project}`,
      jwks_uri: `https://errand.example/p/${project}/.well-known/jwks.json`,
    });
  });

  it.each(['unknown', 'UPPER', '%00', '%ff'])('answers 404 for the project %s', async (project) => {
    for (const name of ['jwks.json', 'openid-configuration']) {
      expectProblem(await call('GET', `/p/${project}/.well-known/${name}`), 'not-found');
    }
  });
});

describe('makeSigningKey()', () => {
  it.each(TOKEN_ALGORITHMS)('makes a pair for %s', async (algorithm) => {
    const key = await makeSigningKey(algorithm);
    expect(key.algorithm).toBe(algorithm);
    expect(key.kid).toMatch(/^[\w-]{43}$/);
    expect(key.publicJwk).not.toHaveProperty('d');
    expect(key.privateJwk).toHaveProperty('d');
  });
});
