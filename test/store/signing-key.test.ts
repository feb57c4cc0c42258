import { describe, expect, it } from 'vitest';
import type { Sql } from '../../src/store/database.ts';
import { createProject } from '../../src/store/project.ts';
import {
  activeSigningKey,
  ensureSigningKey,
  listSigningKeys,
  publicKeys,
  revokeSigningKey,
  rotateSigningKey,
  type SigningKey,
} from '../../src/store/signing-key.ts';
import { useDatabase } from './task-fixture.ts';

const database = useDatabase(8);

function keyNamed(kid: string): SigningKey {
  const publicJwk = { kty: 'EC', crv: 'P-256', x: kid, y: kid };
  return { kid, algorithm: 'ES256', publicJwk, privateJwk: { ...publicJwk, d: kid } };
}

/** A project whose first key is `<project>-1`. */
async function makeProject(sql: Sql, project: string): Promise<void> {
  await createProject(sql, project);
  await ensureSigningKey(sql, project, () => Promise.resolve(keyNamed(`${project}-1`)));
}

async function published(sql: Sql, project: string): Promise<string[]> {
  return (await publicKeys(sql, project)).map(({ kid }) => kid);
}

/** Moves the times of a project's keys back, as if so long had passed. */
async function pass(sql: Sql, project: string, hours: number): Promise<void> {
  await sql`update errand.signing_key set signs_from = signs_from - make_interval(hours => ${hours})
    where project = ${project}`;
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
    await createProject(sql, 'raced');
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

describe('rotateSigningKey()', () => {
  it('publishes the new key at once, and signs with it when its time has come', async () => {
    const { sql } = database;
    await makeProject(sql, 'turn');
    await rotateSigningKey(sql, 'turn', keyNamed('turn-2'), 3_600);
    expect(await published(sql, 'turn')).toEqual(['turn-1', 'turn-2']);
    expect((await activeSigningKey(sql, 'turn'))!.kid).toBe('turn-1');
    await pass(sql, 'turn', 1);
    expect((await activeSigningKey(sql, 'turn'))!.kid).toBe('turn-2');
    expect(await published(sql, 'turn')).toEqual(['turn-2', 'turn-1']);
  });

  it('keeps the old key published for a day after it signed last', async () => {
    const { sql } = database;
    await makeProject(sql, 'day');
    await rotateSigningKey(sql, 'day', keyNamed('day-2'), 3_600);
    await pass(sql, 'day', 24);
    expect(await published(sql, 'day')).toEqual(['day-2', 'day-1']);
    await pass(sql, 'day', 2);
    expect(await published(sql, 'day')).toEqual(['day-2']);
    const states = (await listSigningKeys(sql, 'day')).map(({ kid, state }) => [kid, state]);
    expect(states).toEqual([
      ['day-2', 'signing'],
      ['day-1', 'retired'],
    ]);
  });

  it('lets two at once both count, and the later one stay', async () => {
    const { sql } = database;
    await makeProject(sql, 'twice');
    await Promise.all([
      rotateSigningKey(sql, 'twice', keyNamed('twice-2'), 60),
      rotateSigningKey(sql, 'twice', keyNamed('twice-3'), 120),
    ]);
    await pass(sql, 'twice', 1);
    expect(await published(sql, 'twice')).toEqual(['twice-3', 'twice-2', 'twice-1']);
  });

  it('finds no project that is not there', async () => {
    expect(await rotateSigningKey(database.sql, 'none', keyNamed('n'), 0)).toBeNull();
  });
});

describe('revokeSigningKey()', () => {
  it('puts a successor in the place of the key that signs, at once', async () => {
    const { sql } = database;
    await makeProject(sql, 'leaked');
    expect(await revokeSigningKey(sql, 'leaked', 'leaked-1', keyNamed('leaked-2'))).toBe(true);
    expect((await activeSigningKey(sql, 'leaked'))!.kid).toBe('leaked-2');
    expect(await published(sql, 'leaked')).toEqual(['leaked-2']);
    expect(await revokeSigningKey(sql, 'leaked', 'leaked-1', keyNamed('leaked-3'))).toBe(false);
  });

  it('needs no successor for a key that does not sign, and never brings back an older one', async () => {
    const { sql } = database;
    await makeProject(sql, 'kept');
    await rotateSigningKey(sql, 'kept', keyNamed('kept-2'), 60);
    await revokeSigningKey(sql, 'kept', 'kept-2', keyNamed('kept-x'));
    await pass(sql, 'kept', 1);
    expect(await published(sql, 'kept')).toEqual(['kept-1']);
    await rotateSigningKey(sql, 'kept', keyNamed('kept-3'), 0);
    await revokeSigningKey(sql, 'kept', 'kept-3', keyNamed('kept-4'));
    expect((await activeSigningKey(sql, 'kept'))!.kid).toBe('kept-4');
  });

  it('touches no key of another project', async () => {
    const { sql } = database;
    await makeProject(sql, 'mine');
    expect(await revokeSigningKey(sql, 'default', 'mine-1', keyNamed('mine-2'))).toBe(false);
    expect(await published(sql, 'mine')).toEqual(['mine-1']);
  });
});

describe('publicKeys()', () => {
  it('shows nothing private, and nothing of another project', async () => {
    const { sql } = database;
    await makeProject(sql, 'shown');
    expect(JSON.stringify(await publicKeys(sql, 'shown'))).not.toContain('"d"');
    expect(await publicKeys(sql, 'none')).toEqual([]);
  });
});
