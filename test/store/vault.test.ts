import { randomBytes } from 'node:crypto';
import { describe, expect, it } from 'vitest';
import { createVault, type Envelope, isEnvelope, masterKeyId } from '../../src/store/vault.ts';

const [OLD, NEW] = [randomBytes(32), randomBytes(32)];
const SECRET = { kty: 'EC', d: 'the secret' };

describe('createVault()', () => {
  it('seals what only the same key opens, in the same place', () => {
    const vault = createVault([OLD]);
    const sealed = vault.seal(SECRET, 'signing-key/a');
    expect(isEnvelope(sealed)).toBe(true);
    expect(sealed).toMatchObject({ v: 1, key: masterKeyId(OLD) });
    expect(JSON.stringify(sealed)).not.toContain('secret');
    expect(vault.open(sealed, 'signing-key/a')).toEqual(SECRET);
    expect(() => vault.open(sealed, 'signing-key/b')).toThrow(
      expect.objectContaining({ code: 'master-key-wrong' }),
    );
  });

  it('never seals twice alike', () => {
    const vault = createVault([OLD]);
    expect(vault.seal('a', 'x')).not.toEqual(vault.seal('a', 'x'));
  });

  it.each(['iv', 'data'] as const)('refuses an envelope whose %s was altered', (field) => {
    const vault = createVault([OLD]);
    const sealed = vault.seal(SECRET, 'x') as Envelope & typeof SECRET;
    const bytes = Buffer.from(sealed[field], 'base64url');
    bytes[0]! ^= 1;
    const altered = { ...sealed, [field]: bytes.toString('base64url') };
    expect(() => vault.open(altered, 'x')).toThrow(/was altered or copied/);
  });

  it('opens with the old key while the new one seals', () => {
    const sealed = createVault([OLD]).seal(SECRET, 'x');
    const both = createVault([NEW, OLD]);
    expect(both.open(sealed, 'x')).toEqual(SECRET);
    expect(both.seal(SECRET, 'x')).toMatchObject({ key: masterKeyId(NEW) });
  });

  it('names the key that is missing, and those there are', () => {
    const sealed = createVault([OLD]).seal(SECRET, 'x');
    expect(() => createVault([]).open(sealed, 'x')).toThrow(
      `ERRAND_MASTER_KEY must have the key ${masterKeyId(OLD)}, which wraps secrets of this database, but it is not set`,
    );
    expect(() => createVault([NEW]).open(sealed, 'x')).toThrow(`but it has ${masterKeyId(NEW)}`);
  });

  it('without a key, leaves secrets as they are; with one, opens those all the same', () => {
    expect(createVault([]).seal(SECRET, 'x')).toBe(SECRET);
    expect(createVault([NEW]).open(SECRET, 'x')).toBe(SECRET);
  });
});
