import { describe, expect, it } from 'vitest';
import {
  activeSigningKey,
  ensureSigningKey,
  publicKeys,
  type SigningKey,
} from '../../src/store/signing-key.ts';
import { useDatabase } from './task-fixture.ts';

const database = useDatabase(8);

function keyNamed(kid: string): SigningKey {
  const publicJwk = { kty: 'EC', crv: 'P-256', x: kid, y: kid };
  return { kid, algorithm: 'ES256', publicJwk, privateJwk: { ...publicJwk, d: kid } };
}

describe('ensureSigningKey()', () => {
  it('gives many processes at once one and the same key', async () => {
    const keys = await Promise.all(
      Array.from({ length: 8 }, (_, index) =>
        ensureSigningKey(database.sql, 'default', () => Promise.resolve(keyNamed(`k${index}`))),
      ),
    );
    expect(new Set(keys.map((key) => key.kid)).size).toBe(1);
    expect(await activeSigningKey(database.sql, 'default')).toEqual(keys[0]);
    const [row] = await database.sql`
      select count(*)::integer as keys from errand.signing_key where project = 'default'`;
    expect(row).toEqual({ keys: 1 });
  });

  it('takes the key that another process was faster to make', async () => {
    const { sql } = database;
    await sql`insert into errand.project (name) values ('raced')`;
    const key = await ensureSigningKey(sql, 'raced', async () => {
      await ensureSigningKey(sql, 'raced', () => Promise.resolve(keyNamed('faster')));
      return keyNamed('slower');
    });
    expect(key).toEqual(keyNamed('faster'));
    expect(await publicKeys(sql, 'raced')).toHaveLength(1);
  });

  it('makes no key when there is one', async () => {
    const key = await ensureSigningKey(database.sql, 'default', () => {
      throw new Error('must not be called');
    });
    expect(key.privateJwk).toHaveProperty('d');
  });
});

describe('publicKeys()', () => {
  it('holds the active key and those retired within a day, without their secrets', async () => {
    const { sql } = database;
    await sql`insert into errand.project (name) values ('keys')`;
    for (const [kid, hours] of [
      ['week', 168],
      ['hour', 1],
      ['now', null],
    ] as const) {
      await ensureSigningKey(sql, 'keys', () => Promise.resolve(keyNamed(kid)));
      if (hours === null) continue;
      await sql`update errand.signing_key set retired_at = now() - make_interval(hours => ${hours})
        where kid = ${kid}`;
    }
    const keys = await publicKeys(sql, 'keys');
    expect(keys.map((key) => key.kid)).toEqual(['now', 'hour']);
    expect(JSON.stringify(keys)).not.toContain('"d"');
  });

  it('holds nothing of another project', async () => {
    expect(await publicKeys(database.sql, 'none')).toEqual([]);
  });
});
