import { createHmac } from 'node:crypto';
import { exportJWK, exportSPKI, generateKeyPair, importJWK, SignJWT } from 'jose';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { WorkerOptions } from '../../src/handler/index.ts';
import { VerificationError, verify } from '../../src/handler/index.ts';
import type { AttemptToSign, SignedAttempt, Signer } from '../support/sign.ts';
import {
  close,
  createSigner,
  describeAttempt,
  listen,
  serverUrl,
  toRequest,
  WORKER_URL,
  withToken,
} from '../support/sign.ts';

let signer: Signer;
let options: WorkerOptions;
beforeAll(async () => {
  signer = await createSigner();
  options = { issuer: signer.issuer, publicUrl: WORKER_URL };
});
afterAll(() => signer.close());

const now = (): number => Math.floor(Date.now() / 1000);

async function refusal(request: Request, more: WorkerOptions = {}): Promise<VerificationError> {
  const error = await verify(request, { ...options, ...more }).catch((thrown) => thrown);
  expect(error).toBeInstanceOf(VerificationError);
  return error;
}

test('verify() returns the task of a request that the service signed', async () => {
  const task = await verify(await signer.request(), options);
  expect(task).toMatchObject({
    taskId: '0198c0de000070008000000000000001',
    taskName: 'welcome-1',
    queue: 'mail',
    attempt: 1,
    maxAttempts: 100,
    step: 0,
    scheduleTime: new Date('2026-01-02T03:04:05.678Z'),
    previousStatus: null,
  });
  expect(task.text()).toBe('{"to":"a@example.com"}');
  expect(task.claims.jti).toBe('lease-1');
});

test('verify() reads a retry of an unnamed task without an attempt limit', async () => {
  const headers = {
    'errand-task-name': null,
    'errand-attempt': '7',
    'errand-max-attempts': 'unlimited',
    'errand-step': '3',
    'errand-previous-status': '503',
  };
  expect(await verify(await signer.request({ headers }), options)).toMatchObject({
    taskName: null,
    attempt: 7,
    maxAttempts: 'unlimited',
    step: 3,
    previousStatus: 503,
  });
});

test.each(['EdDSA', 'RS256'] as const)('verify() takes %s', async (algorithm) => {
  const other = await createSigner(algorithm);
  const task = await verify(await other.request(), { ...options, issuer: other.issuer });
  expect(task.queue).toBe('mail');
  await other.close();
});

test('verify() keeps bytes that are not UTF-8 as they are', async () => {
  const body = new Uint8Array([0, 255, 254, 13, 10, 128]);
  expect((await verify(await signer.request({ body }), options)).body).toEqual(body);
});

test('verify() takes an empty body and a GET', async () => {
  const task = await verify(await signer.request({ method: 'GET', body: '' }), options);
  expect(task.body).toHaveLength(0);
});

test('verify() falls back to Authorization', async () => {
  const request = await signer.request({ headers: { 'errand-authorization': null } });
  expect((await verify(request, options)).queue).toBe('mail');
});

test('verify() prefers Errand-Authorization when the task has an Authorization of its own', async () => {
  const request = await signer.request({ headers: { authorization: 'Basic dTpw' } });
  expect((await verify(request, options)).queue).toBe('mail');
});

test('verify() fetches the keys once for many requests, each with options of its own', async () => {
  const own = await createSigner();
  for (let i = 0; i < 5; i++) {
    await verify(await own.request(), { issuer: `${own.issuer}/`, publicUrl: WORKER_URL });
  }
  expect(own.fetches()).toBe(1);
  await own.close();
});

test('verify() fetches nothing when the jwks is given', async () => {
  const own = await createSigner();
  await own.close();
  const task = await verify(await own.request(), {
    issuer: own.issuer,
    publicUrl: WORKER_URL,
    jwks: own.jwks,
  });
  expect(task.queue).toBe('mail');
});

describe('verify() refuses', () => {
  const cases: [string, string, AttemptToSign | (() => AttemptToSign)][] = [
    ['a request without a token', 'token-missing', withoutToken()],
    ['a token that is no Bearer token', 'token-malformed', bearer('Basic dTpw')],
    ['a token that is no JWT', 'token-malformed', bearer('Bearer abc')],
    ['another audience', 'claim-invalid', { claims: { aud: 'https://other.example' } }],
    ['no audience', 'claim-invalid', { claims: { aud: undefined } }],
    ['a list of audiences', 'claim-invalid', { claims: { aud: [WORKER_URL] } }],
    ['another issuer', 'claim-invalid', { claims: { iss: 'https://errand.example' } }],
    ['another project', 'claim-invalid', () => ({ claims: { iss: `${signer.issuer}/p/b` } })],
    ['another typ', 'claim-invalid', { protectedHeader: { typ: 'at+jwt' } }],
    ['no typ', 'claim-invalid', { protectedHeader: { typ: undefined } }],
    ['no jti', 'claim-invalid', { claims: { jti: undefined } }],
    ['no exp', 'claim-invalid', { claims: { exp: undefined } }],
    ['no body_sha256', 'claim-invalid', { claims: { body_sha256: undefined } }],
    ['a token past its exp', 'token-expired', () => ({ claims: { exp: now() - 61 } })],
    ['a token too old', 'token-expired', () => ({ claims: { iat: now() - 362 } })],
    ['a token of the future', 'claim-invalid', () => ({ claims: { iat: now() + 70 } })],
    ['an unknown key', 'key-unknown', { protectedHeader: { kid: 'other' } }],
    ['another method', 'method-mismatch', { claims: { htm: 'PUT' } }],
    ['a URL that is none', 'url-mismatch', { claims: { url: 'nowhere' } }],
    ['another task id', 'task-mismatch', { headers: { 'errand-task-id': 'f'.repeat(32) } }],
    ['another queue', 'task-mismatch', { headers: { 'errand-queue': 'other' } }],
    ['no task id', 'task-mismatch', { headers: { 'errand-task-id': null } }],
    ['an attempt that is no number', 'header-invalid', { headers: { 'errand-attempt': 'x' } }],
    ['no schedule time', 'header-invalid', { headers: { 'errand-schedule-time': null } }],
  ];
  test.each(cases)('%s', async (_what, code, attempt) => {
    const request = await signer.request(typeof attempt === 'function' ? attempt() : attempt);
    const error = await refusal(request);
    expect([error.code, error.status]).toEqual([code, 401]);
  });

  test('an altered body', async () => {
    const signed = await signer.sign({ body: '{"amount":1}' });
    const body = new TextEncoder().encode('{"amount":9}');
    expect((await refusal(toRequest({ ...signed, body }))).code).toBe('body-mismatch');
  });

  test('a hash that only begins as the body’s', async () => {
    const hash = describeAttempt({}, signer.issuer).claims.body_sha256;
    const request = await signer.request({ claims: { body_sha256: `${hash}A` } });
    expect((await refusal(request)).code).toBe('body-mismatch');
  });

  test('a body left away', async () => {
    const signed = await signer.sign();
    const body = new Uint8Array(0);
    expect((await refusal(toRequest({ ...signed, body }))).code).toBe('body-mismatch');
  });

  test('an altered token', async () => {
    const signed = await signer.sign();
    const [header, , signature] = signed.headers.authorization!.split('.');
    const { claims } = describeAttempt({ claims: { jti: 'lease-2' } }, signer.issuer);
    const token = `${header!.slice('Bearer '.length)}.${encode(claims)}.${signature}`;
    expect((await refusal(toRequest(withBearer(signed, token)))).code).toBe('signature-invalid');
  });

  test('a token of a stranger’s key under our kid, even with his jwk and jku in its header', async () => {
    const { privateKey, publicKey } = await generateKeyPair('ES256', { extractable: true });
    const strangersJwk = await exportJWK(publicKey);
    let fetches = 0;
    const server = await listen((_request, response) => {
      fetches++;
      response.end(JSON.stringify({ keys: [strangersJwk] }));
    });
    const parts = describeAttempt({}, signer.issuer);
    const token = await new SignJWT(parts.claims)
      .setProtectedHeader({
        alg: 'ES256',
        typ: 'JWT',
        kid: signer.jwks.keys[0]!.kid!,
        jwk: strangersJwk,
        jku: serverUrl(server),
        x5u: serverUrl(server),
      })
      .sign(privateKey);
    expect((await refusal(toRequest(withToken(parts, token)))).code).toBe('signature-invalid');
    expect(fetches).toBe(0);
    await close(server);
  });

  test('alg none', async () => {
    const parts = describeAttempt({}, signer.issuer);
    const token = `${encode({ alg: 'none', typ: 'JWT' })}.${encode(parts.claims)}.`;
    const error = await refusal(toRequest(withToken(parts, token)));
    expect(error.code).toBe('algorithm-refused');
  });

  test('HS256 with the public key as its secret', async () => {
    const [jwk] = signer.jwks.keys;
    const publicKey = (await importJWK(jwk!, 'ES256', { extractable: true })) as never;
    const parts = describeAttempt({}, signer.issuer);
    for (const secret of [await exportSPKI(publicKey), JSON.stringify(jwk)]) {
      const input = `${encode({ alg: 'HS256', typ: 'JWT', kid: jwk!.kid })}.${encode(parts.claims)}`;
      const token = `${input}.${createHmac('sha256', secret).update(input).digest('base64url')}`;
      const error = await refusal(toRequest(withToken(parts, token)));
      expect(error.code).toBe('algorithm-refused');
      // By the pinned list, before any key is looked at.
      expect(error.cause).toMatchObject({ code: 'ERR_JOSE_ALG_NOT_ALLOWED' });
    }
  });

  test('a body beyond maxBodyBytes, with and without a Content-Length', async () => {
    const body = 'x'.repeat(11);
    const declared = await signer.request({ body, headers: { 'content-length': '11' } });
    const error = await refusal(declared, { maxBodyBytes: 10 });
    expect([error.code, error.status]).toEqual(['body-too-large', 413]);
    expect(declared.bodyUsed).toBe(false);
    const undeclared = await signer.request({ body });
    expect((await refusal(undeclared, { maxBodyBytes: 10 })).code).toBe('body-too-large');
    const fitting = await signer.request({ body });
    expect((await verify(fitting, { ...options, maxBodyBytes: 11 })).body).toHaveLength(11);
  });

  test('a request whose body was read before, and says so', async () => {
    const request = await signer.request();
    await request.text();
    const error = await refusal(request);
    expect([error.code, error.status]).toEqual(['body-consumed', 500]);
  });

  test('everything while the keys can’t be fetched, with 503', async () => {
    const gone = await createSigner();
    await gone.close();
    const error = await refusal(await gone.request(), { issuer: gone.issuer });
    expect([error.code, error.status]).toEqual(['keys-unavailable', 503]);
  });
});

test('verify() does not read the body of a request whose token is refused', async () => {
  const request = await signer.request({ claims: { aud: 'https://other.example' } });
  await refusal(request);
  expect(request.bodyUsed).toBe(false);
});

test('verify() takes clocks that are 59 s apart', async () => {
  const early = await signer.request({ claims: { iat: now() + 55, exp: now() + 355 } });
  expect((await verify(early, options)).queue).toBe('mail');
  const late = await signer.request({ claims: { iat: now() - 355, exp: now() - 55 } });
  expect((await verify(late, options)).queue).toBe('mail');
});

test('verify() takes the audience that it is given, and then no other', async () => {
  const audience = 'mailers';
  const request = await signer.request({ claims: { aud: audience } });
  expect((await verify(request, { ...options, audience })).claims.aud).toBe(audience);
  expect((await refusal(await signer.request(), { audience })).code).toBe('claim-invalid');
});

function encode(value: unknown): string {
  return Buffer.from(JSON.stringify(value)).toString('base64url');
}

function withBearer(signed: SignedAttempt, token: string): SignedAttempt {
  return { ...signed, headers: { ...signed.headers, 'errand-authorization': `Bearer ${token}` } };
}

function withoutToken(): AttemptToSign {
  return { headers: { 'errand-authorization': null, authorization: null } };
}

function bearer(value: string): AttemptToSign {
  return { headers: { 'errand-authorization': value } };
}
