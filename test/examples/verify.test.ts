import { spawn, spawnSync } from 'node:child_process';
import { createHmac } from 'node:crypto';
import { once } from 'node:events';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { exportSPKI, generateKeyPair, importJWK, SignJWT } from 'jose';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import {
  type AttemptToSign,
  createSigner,
  describeAttempt,
  type SignedAttempt,
  type Signer,
  withToken,
  WORKER_URL,
} from '../support/sign.ts';

const ROOT = join(import.meta.dirname, '../..');
const SAMPLES = join(ROOT, 'examples/verify');
const BODY = '{"amount":1}';
const DEBIANS = '/usr/bin/python3';

/** Debian's python3-jwt belongs to Debian's own Python; another `python3` may go before it. */
const python = ['python3', DEBIANS].find(
  (each) => spawnSync(each, ['-c', 'import jwt, cryptography']).status === 0,
);

/** Programs that verify what comes as lines of JSON, and print `taken` or `refused` for each. */
const SAMPLE_IN = {
  TypeScript: {
    command: process.execPath,
    args: [
      '--input-type=module',
      '--eval',
      `import { createInterface } from 'node:readline';
      import { verify } from ${JSON.stringify(join(SAMPLES, 'verify.ts'))};
      for await (const line of createInterface({ input: process.stdin })) {
        const { token, method, path, body } = JSON.parse(line);
        await verify(token, method, path, Buffer.from(body, 'base64')).then(
          () => console.log('taken'), () => console.log('refused'));
      }`,
    ],
  },
  Python: {
    command: python ?? 'python3',
    args: [
      '-c',
      `import base64, json, sys
sys.dont_write_bytecode = True
sys.path.insert(0, ${JSON.stringify(SAMPLES)})
from verify import verify
for line in sys.stdin:
    case = json.loads(line)
    try:
        verify(case["token"], case["method"], case["path"], base64.b64decode(case["body"]))
        print("taken")
    except Exception:
        print("refused")`,
    ],
  },
};

let signer: Signer;
beforeAll(async () => {
  signer = await createSigner();
});
afterAll(() => signer.close());

const now = () => Math.floor(Date.now() / 1000);
const sign = (attempt: AttemptToSign = {}) => signer.sign({ body: BODY, ...attempt });

const REFUSED: Record<string, () => Promise<SignedAttempt>> = {
  'alg none': () => forged({ alg: 'none' }, () => ''),
  'HS256 with the public key as its secret (PEM)': async () => {
    const [jwk] = signer.jwks.keys;
    const key = (await importJWK(jwk!, 'ES256', { extractable: true })) as never;
    const pem = await exportSPKI(key);
    return forged({ alg: 'HS256', kid: jwk!.kid }, (input) => hmac(pem, input));
  },
  'HS256 with the public key as its secret (JWK)': async () => {
    const [jwk] = signer.jwks.keys;
    return forged({ alg: 'HS256', kid: jwk!.kid }, (input) => hmac(JSON.stringify(jwk), input));
  },
  'another audience': () => sign({ claims: { aud: 'https://other.example' } }),
  'no audience': () => sign({ claims: { aud: undefined } }),
  'another issuer': () => sign({ claims: { iss: 'https://errand.example' } }),
  'no issuer': () => sign({ claims: { iss: undefined } }),
  'another typ': () => sign({ protectedHeader: { typ: 'at+jwt' } }),
  'no typ': () => sign({ protectedHeader: { typ: undefined } }),
  'an expired token': () => sign({ claims: { iat: now() - 370, exp: now() - 70 } }),
  'a token without exp': () => sign({ claims: { exp: undefined } }),
  'a token of the future': () => sign({ claims: { iat: now() + 120 } }),
  'an altered body': () => sign().then((each) => ({ ...each, body: bytes('{"amount":9}') })),
  'a body left away': () => sign().then((each) => ({ ...each, body: bytes('') })),
  'no body_sha256': () => sign({ claims: { body_sha256: undefined } }),
  'a body_sha256 that is longer': async () => {
    const { claims } = describeAttempt({ body: BODY }, signer.issuer);
    return sign({ claims: { body_sha256: `${claims.body_sha256}A` } });
  },
  'another URL': () => sign({ claims: { url: `${WORKER_URL}/tasks/other` } }),
  'another host in the URL': () => sign({ claims: { url: 'https://other.example/tasks/email' } }),
  'another query in the URL': () => sign({ claims: { url: `${WORKER_URL}/tasks/email?all=1` } }),
  'another method': () => sign({ claims: { htm: 'PUT' } }),
  "another project's key": async () => {
    const other = await createSigner();
    const { issuer: iss } = signer;
    const signed = await other.sign({ body: BODY, claims: { iss } });
    await other.close();
    return signed;
  },
  "another project's key, under the name of ours": async () => {
    const { privateKey } = await generateKeyPair('ES256');
    const parts = describeAttempt({ body: BODY }, signer.issuer);
    const header = { alg: 'ES256', typ: 'JWT', kid: signer.jwks.keys[0]!.kid! };
    const token = await new SignJWT(parts.claims).setProtectedHeader(header).sign(privateKey);
    return withToken(parts, token);
  },
  "another project's issuer": () => sign({ claims: { iss: `${signer.issuer}/p/acme` } }),
};

describe.each(['TypeScript', 'Python'] as const)('the sample in %s', (language) => {
  const isMissing = language === 'Python' && python === undefined;
  const about = isMissing ? ' (skipped: `apt-get install python3-jwt` to run it)' : '';

  test.skipIf(isMissing).each(['ES256', 'EdDSA', 'RS256'] as const)(
    `takes what the service signs with %s${about}`,
    async (algorithm) => {
      const own = await createSigner(algorithm);
      const url = `${WORKER_URL}/tasks/e%20mail?a=1&b=%C3%A4`;
      const attempts = await Promise.all([
        own.sign({ body: BODY }),
        own.sign({ url, body: new Uint8Array([0, 255, 13, 10]) }),
        own.sign({ method: 'GET', body: '' }),
        own.sign({ claims: { iat: now() + 50, exp: now() + 350 } }),
      ]);
      const answers = await ask(language, own.issuer, attempts);
      await own.close();
      expect(answers).toEqual(['taken', 'taken', 'taken', 'taken']);
    },
  );

  test.skipIf(isMissing)(`refuses everything else${about}`, async () => {
    const attempts = await Promise.all(Object.values(REFUSED).map((make) => make()));
    const answers = await ask(language, signer.issuer, [await sign(), ...attempts]);
    const names = ['what is signed well', ...Object.keys(REFUSED)];
    const taken = names.filter((_, at) => answers[at] !== 'refused');
    expect(answers).toHaveLength(names.length);
    expect(taken).toEqual(['what is signed well']);
  });
});

test('docs/security.md shows the samples as they are', async () => {
  const text = await readFile(join(ROOT, 'docs/security.md'), 'utf8');
  for (const [language, name] of [
    ['ts', 'verify.ts'],
    ['python', 'verify.py'],
    ['go', 'verify.go'],
    ['php', 'verify.php'],
  ]) {
    const sample = await readFile(join(SAMPLES, name!), 'utf8');
    expect(text).toContain(`\`\`\`${language}\n${sample}\`\`\`\n`);
  }
});

async function ask(
  language: keyof typeof SAMPLE_IN,
  issuer: string,
  attempts: SignedAttempt[],
): Promise<string[]> {
  const { command, args } = SAMPLE_IN[language];
  const env = { PATH: process.env.PATH, ERRAND_ISSUER: issuer, ERRAND_WORKER_URL: WORKER_URL };
  const child = spawn(command, args, { cwd: ROOT, env, stdio: ['pipe', 'pipe', 'inherit'] });
  let said = '';
  child.stdout.on('data', (chunk) => {
    said += chunk;
  });
  child.stdin.end(attempts.map((attempt) => `${JSON.stringify(asCase(attempt))}\n`).join(''));
  await once(child, 'close');
  return said.trim().split('\n');
}

function asCase({ url, method, headers, body }: SignedAttempt) {
  const { pathname, search } = new URL(url);
  return {
    token: headers['errand-authorization']!.replace('Bearer ', ''),
    method,
    path: pathname + search,
    body: Buffer.from(body).toString('base64'),
  };
}

/** A good token in everything but its signature. */
function forged(header: object, signature: (input: string) => string): Promise<SignedAttempt> {
  const parts = describeAttempt({ body: BODY }, signer.issuer);
  const input = `${encode({ typ: 'JWT', ...header })}.${encode(parts.claims)}`;
  return Promise.resolve(withToken(parts, `${input}.${signature(input)}`));
}

function hmac(secret: string, input: string): string {
  return createHmac('sha256', secret).update(input).digest('base64url');
}

function encode(value: unknown): string {
  return Buffer.from(JSON.stringify(value)).toString('base64url');
}

function bytes(text: string): Uint8Array<ArrayBuffer> {
  return new TextEncoder().encode(text);
}
