import { createHash } from 'node:crypto';
import { calculateJwkThumbprint, importJWK, jwtVerify } from 'jose';
import { describe, expect, test } from 'vitest';
import { makeSigningKey } from '../../src/api/signing-key.ts';
import { type AttemptClaims, createSigner } from '../../src/dispatch/sign.ts';
import { createSigningThread } from '../../src/dispatch/signing-thread.ts';
import { verify } from '../../src/handler/index.ts';
import { TOKEN_ALGORITHMS } from '../../src/protocol/token.ts';
import { close, listen, serverUrl, WORKER_URL } from '../support/sign.ts';

const BODY = Buffer.from([0, 255, 10, 13, 128]);

function attempt(fields: Partial<AttemptClaims> = {}): AttemptClaims {
  return {
    issuer: 'https://errand.example',
    audience: WORKER_URL,
    queue: 'mail',
    taskId: '0198c0de000070008000000000000001',
    leaseId: 'lease-1',
    method: 'POST',
    url: `${WORKER_URL}/work?a=1`,
    body: BODY,
    issuedAt: Math.floor(Date.now() / 1000),
    ...fields,
  };
}

describe.each(TOKEN_ALGORITHMS)('sign() with %s', (algorithm) => {
  test('makes a token that its public key verifies, with every claim of the contract', async () => {
    const key = await makeSigningKey(algorithm);
    const claims = attempt();
    const token = await createSigner(key, createSigningThread()).sign(claims);
    const { payload, protectedHeader } = await jwtVerify(
      token,
      await importJWK(key.publicJwk, algorithm),
      {
        algorithms: [algorithm],
        typ: 'JWT',
        issuer: 'https://errand.example',
        audience: WORKER_URL,
        requiredClaims: ['exp', 'iat', 'jti', 'sub', 'htm', 'url', 'body_sha256'],
        maxTokenAge: 300,
      },
    );
    expect(protectedHeader).toEqual({ alg: algorithm, typ: 'JWT', kid: key.kid });
    expect(key.kid).toBe(await calculateJwkThumbprint(key.publicJwk));
    expect(payload).toEqual({
      iss: 'https://errand.example',
      aud: WORKER_URL,
      sub: 'queues/mail/tasks/0198c0de000070008000000000000001',
      jti: 'lease-1',
      iat: claims.issuedAt,
      exp: claims.issuedAt + 300,
      htm: 'POST',
      url: `${WORKER_URL}/work?a=1`,
      body_sha256: createHash('sha256').update(BODY).digest('base64url'),
    });
  });

  test('makes a token that the handler kit accepts for this body and for no other', async () => {
    const key = await makeSigningKey(algorithm);
    const jwks = { keys: [{ ...key.publicJwk, kid: key.kid, alg: algorithm, use: 'sig' }] };
    const server = await listen((_, response) => void response.end(JSON.stringify(jwks)));
    try {
      const issuer = serverUrl(server);
      const token = await createSigner(key, createSigningThread()).sign(attempt({ issuer }));
      const options = { issuer, publicUrl: WORKER_URL };
      const { taskId, body } = await verify(request(token, BODY), options);
      expect(taskId).toBe('0198c0de000070008000000000000001');
      expect(Buffer.from(body)).toEqual(BODY);
      const other = verify(request(token, Buffer.from('other')), options);
      await expect(other).rejects.toMatchObject({ code: 'body-mismatch' });
    } finally {
      await close(server);
    }
  });
});

function request(token: string, body: Buffer<ArrayBuffer>): Request {
  return new Request(`${WORKER_URL}/work?a=1`, {
    method: 'POST',
    body,
    headers: {
      'errand-authorization': `Bearer ${token}`,
      'errand-task-id': '0198c0de000070008000000000000001',
      'errand-queue': 'mail',
      'errand-attempt': '1',
      'errand-max-attempts': '100',
      'errand-step': '0',
      'errand-schedule-time': '2026-01-02T03:04:05.678Z',
    },
  });
}
