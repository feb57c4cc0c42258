import { randomBytes } from 'node:crypto';
import { describe, expect, it } from 'vitest';
import { makeSigningKey } from '../../src/api/signing-key.ts';
import { abandonSecrets, checkSecrets, rewrapSecrets } from '../../src/store/master-key.ts';
import { createProject } from '../../src/store/project.ts';
import {
  activeSigningKey,
  ensureSigningKey,
  rotateSigningKey,
  signingKeyContext,
} from '../../src/store/signing-key.ts';
import { createVault, masterKeyId } from '../../src/store/vault.ts';
import {
  addWebhookSecret,
  listWebhookSecrets,
  MAX_WEBHOOK_SECRETS,
  removeWebhookSecret,
  webhookSecretContext,
} from '../../src/store/webhook-secret.ts';
import { useDatabase } from './task-fixture.ts';

const database = useDatabase();
const [OLD, NEW] = [randomBytes(32), randomBytes(32)];
const QUEUE = { project: 'default', queue: 'default' };

describe('rewrapSecrets()', () => {
  it('wraps what lay there unwrapped, and then with another key, and changes no secret', async () => {
    const { sql } = database;
    await ensureSigningKey(sql, 'default', () => makeSigningKey());
    await createProject(sql, 'wrapped');
    await ensureSigningKey(sql, 'wrapped', () => makeSigningKey('EdDSA', createVault([OLD])));
    await addWebhookSecret(sql, { ...QUEUE, id: 'one', secret: 'whsec_one' });
    const plain = (await activeSigningKey(sql, 'default'))!;
    expect(await checkSecrets(sql, createVault([OLD]))).toEqual({
      unwrapped: 2,
      wrapped: new Map([[masterKeyId(OLD), 1]]),
    });

    expect(await rewrapSecrets(sql, createVault([OLD]))).toBe(2);
    expect(await rewrapSecrets(sql, createVault([OLD]))).toBe(0);
    expect(await rewrapSecrets(sql, createVault([NEW, OLD]))).toBe(3);

    const vault = createVault([NEW]);
    const all = { unwrapped: 0, wrapped: new Map([[masterKeyId(NEW), 3]]) };
    expect(await checkSecrets(sql, vault)).toEqual(all);
    const { kid, privateJwk } = (await activeSigningKey(sql, 'default'))!;
    expect(vault.open(privateJwk, signingKeyContext(kid))).toEqual(plain.privateJwk);
    const [stored] = (await listWebhookSecrets(sql, 'default', 'default'))!;
    expect(vault.open(stored!.secret, webhookSecretContext('one'))).toBe('whsec_one');
    await expect(checkSecrets(sql, createVault([OLD]))).rejects.toMatchObject({
      code: 'master-key-missing',
    });
  });
});

describe('abandonSecrets()', () => {
  it('removes the webhook secrets of that key alone, and names its signing keys', async () => {
    const { sql } = database;
    await sql`insert into errand.queue (project, name, shard) values ('default', 'lost', 0)`;
    const lost = { project: 'default', queue: 'lost' };
    const [first, second] = [createVault([NEW]), createVault([OLD])];
    await addWebhookSecret(sql, { ...lost, id: 'a', secret: first.seal('whsec_a', 'x') });
    await addWebhookSecret(sql, { ...lost, id: 'b', secret: second.seal('whsec_b', 'x') });
    const { queues, signingKeys } = await abandonSecrets(sql, masterKeyId(NEW));
    // The queue of the test before lost its only one.
    expect(queues).toBe(2);
    expect(signingKeys.map(({ project }) => project).toSorted()).toEqual(['default', 'wrapped']);
    const left = (await listWebhookSecrets(sql, 'default', 'lost'))!;
    expect(left.map(({ id }) => id)).toEqual(['b']);
  });
});

describe('checkSecrets()', () => {
  it('needs no master key for what never signs again', async () => {
    const { sql } = database;
    await sql`update errand.queue set webhook_secrets = '[]'`;
    await createProject(sql, 'replaced');
    const lost = createVault([randomBytes(32)]);
    await ensureSigningKey(sql, 'replaced', () => makeSigningKey('ES256', lost));
    const vault = createVault([NEW, OLD]);
    await expect(checkSecrets(sql, vault)).rejects.toThrow(/master-key abandon/);
    await rotateSigningKey(sql, 'replaced', await makeSigningKey('ES256', vault), 0);
    expect((await checkSecrets(sql, vault)).unwrapped).toBe(0);
  });
});

describe('addWebhookSecret()', () => {
  it('gives a queue two secrets at most, however many come at once, and raises its version', async () => {
    const { sql } = database;
    await sql`insert into errand.queue (project, name, shard) values ('default', 'hooks', 0)`;
    const hooks = { project: 'default', queue: 'hooks' };
    const results = await Promise.all(
      ['a', 'b', 'c', 'd'].map((id) => addWebhookSecret(sql, { ...hooks, id, secret: id })),
    );
    const counts = ['added', 'too-many'].map((kind) => results.filter((r) => r.kind === kind));
    expect(counts.map(({ length }) => length)).toEqual([2, 2]);
    const secrets = (await listWebhookSecrets(sql, 'default', 'hooks'))!;
    expect(secrets).toHaveLength(MAX_WEBHOOK_SECRETS);
    expect(await removeWebhookSecret(sql, { ...hooks, id: secrets[0]!.id })).toBe(true);
    expect(await removeWebhookSecret(sql, { ...hooks, id: secrets[0]!.id })).toBe(false);
    expect(await listWebhookSecrets(sql, 'default', 'hooks')).toEqual([secrets[1]]);
    const [row] = await sql`select version from errand.queue where name = 'hooks'`;
    expect(row).toEqual({ version: '4' });
  });

  it('finds no queue of another project', async () => {
    const elsewhere = { project: 'wrapped', queue: 'default', id: 'x' };
    expect(await addWebhookSecret(database.sql, { ...elsewhere, secret: 'x' })).toEqual({
      kind: 'not-found',
    });
    expect(await removeWebhookSecret(database.sql, elsewhere)).toBe(false);
    expect(await listWebhookSecrets(database.sql, 'wrapped', 'default')).toBeNull();
  });
});
