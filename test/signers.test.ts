import { randomBytes } from 'node:crypto';
import { afterAll, beforeAll, beforeEach, describe, expect, test, vi } from 'vitest';
import { makeSigningKey } from '../src/api/signing-key.ts';
import type { AttemptClaims } from '../src/dispatch/sign.ts';
import { signatureOf } from '../src/dispatch/signature.ts';
import { createSignerDirectory } from '../src/signers.ts';
import { type Database, openDatabase } from '../src/store/database.ts';
import { StoreError } from '../src/store/errors.ts';
import { activeSigningKey, revokeSigningKey, rotateSigningKey } from '../src/store/signing-key.ts';
import { createVault, isEnvelope } from '../src/store/vault.ts';
import { createTestDatabase, type TestDatabase } from './support/database.ts';

let testDatabase: TestDatabase;
let database: Database;
const vault = createVault([randomBytes(32)]);
const thread = { sign: async (...args: Parameters<typeof signatureOf>) => signatureOf(...args) };

beforeAll(async () => {
  testDatabase = await createTestDatabase();
  database = openDatabase({ url: testDatabase.url, connections: 4, name: 'signers test' });
});
afterAll(async () => {
  await database.close(0);
  await testDatabase.drop();
});

let nowMs: number;
beforeEach(() => {
  nowMs = 1_000_000;
  const spy = vi.spyOn(performance, 'now').mockImplementation(() => nowMs);
  return () => spy.mockRestore();
});

const CLAIMS: AttemptClaims = {
  issuer: 'https://errand.example',
  audience: 'https://worker.example',
  queue: 'default',
  taskId: '0198c0de000070008000000000000001',
  leaseId: 'lease',
  method: 'POST',
  url: 'https://worker.example/',
  body: Buffer.from('{}'),
  issuedAt: 1_800_000_000,
};

describe('createSignerDirectory()', () => {
  test('makes a wrapped key at first need, and signs with it without asking each time', async () => {
    const { signerOf, statements } = directory();
    const kid = await kidOf(signerOf);
    const key = (await database.run((sql) => activeSigningKey(sql, 'default')))!;
    expect(kid).toBe(key.kid);
    expect(isEnvelope(key.privateJwk)).toBe(true);
    const before = statements();
    nowMs += 499;
    await Promise.all(Array.from({ length: 50 }, () => kidOf(signerOf)));
    expect(statements()).toBe(before);
  });

  test('never signs with a key a second after it was revoked', async () => {
    const { signerOf } = directory();
    const kid = await kidOf(signerOf);
    const successor = await makeSigningKey('EdDSA', vault);
    await database.run((sql) => revokeSigningKey(sql, 'default', kid, successor));
    expect(await kidOf(signerOf)).toBe(kid);
    nowMs += 1_000;
    expect(await kidOf(signerOf)).toBe(successor.kid);
  });

  test('waits for a check of its own when another is under way', async () => {
    const { signerOf, hold } = directory();
    await database.run((sql) => sql`insert into errand.project (name) values ('late')`);
    const kid = await kidOf(signerOf, 'late');
    await kidOf(signerOf);
    nowMs += 1_000;
    const release = hold();
    const first = kidOf(signerOf);
    const successor = await makeSigningKey('ES256', vault);
    await database.run((sql) => revokeSigningKey(sql, 'late', kid, successor));
    const second = kidOf(signerOf, 'late');
    release();
    await first;
    expect(await second).toBe(successor.kid);
  });

  test('takes a new key up when its time has come', async () => {
    const { signerOf } = directory();
    const kid = await kidOf(signerOf);
    const next = await makeSigningKey('ES256', vault);
    await database.run((sql) => rotateSigningKey(sql, 'default', next, 3_600));
    nowMs += 1_000;
    expect(await kidOf(signerOf)).toBe(kid);
    await database.run(
      (sql) => sql`update errand.signing_key set signs_from = now() where kid = ${next.kid}`,
    );
    nowMs += 1_000;
    expect(await kidOf(signerOf)).toBe(next.kid);
  });

  test('goes on with the key it has while the database is away', async () => {
    const { signerOf, fail } = directory();
    const kid = await kidOf(signerOf);
    fail(new StoreError('database-unavailable', 'away'));
    nowMs += 1_000;
    expect(await kidOf(signerOf)).toBe(kid);
  });
});

async function kidOf(signerOf: ReturnType<typeof createSignerDirectory>, project = 'default') {
  const token = await (await signerOf(project)).sign(CLAIMS);
  return JSON.parse(Buffer.from(token.split('.')[0]!, 'base64url').toString()).kid as string;
}

/** A directory on the real database, whose answers can be held back and replaced by an error. */
function directory() {
  let count = 0;
  let held: Promise<void> = Promise.resolve();
  let error: Error | null = null;
  const counting: Database = {
    ...database,
    async run(verb, options) {
      count += 1;
      if (error !== null) throw error;
      const result = await database.run(verb, options);
      await held;
      return result;
    },
  };
  return {
    signerOf: createSignerDirectory(counting, thread, vault),
    statements: () => count,
    fail(reason: Error) {
      error = reason;
    },
    hold() {
      const gate = Promise.withResolvers<void>();
      held = gate.promise;
      return gate.resolve;
    },
  };
}
