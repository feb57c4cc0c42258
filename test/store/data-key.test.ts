import { randomBytes } from 'node:crypto';
import { describe, expect, it } from 'vitest';
import { ContentError } from '../../src/store/content-seal.ts';
import { makeDataKey, setEncryption } from '../../src/store/data-key.ts';
import type { Database } from '../../src/store/database.ts';
import { StoreError } from '../../src/store/errors.ts';
import { createKeyring } from '../../src/store/keyring.ts';
import { abandonSecrets, checkSecrets, rewrapSecrets } from '../../src/store/master-key.ts';
import { createProject, findProject } from '../../src/store/project.ts';
import { createVault, masterKeyId } from '../../src/store/vault.ts';
import { useDatabase } from './task-fixture.ts';

const database = useDatabase();
const [OLD, NEW] = [randomBytes(32), randomBytes(32)];
const vault = createVault([OLD]);

/** The file's own database, as the rooms above have it. */
let statements = 0;
const open: Database = {
  run(verb) {
    statements += 1;
    return Promise.resolve(verb(database.sql));
  },
  close: async () => {},
};

async function encrypt(project: string, by = vault): Promise<number> {
  await createProject(database.sql, project);
  const { dataKey } = (await setEncryption(database.sql, project, makeDataKey(by, project)))!;
  return dataKey!;
}

describe('makeDataKey()', () => {
  it('makes none without a master key', () => {
    expect(makeDataKey(createVault([]), 'acme')).toBeNull();
  });
});

describe('setEncryption()', () => {
  const set = (project: string, isOn: boolean, isRenewed = false) =>
    setEncryption(database.sql, project, isOn ? makeDataKey(vault, project) : null, { isRenewed });

  it('keeps the key of a project that encrypts already, unless it is to be renewed', async () => {
    const { sql } = database;
    await createProject(sql, 'switched');
    expect((await findProject(sql, 'switched'))!.dataKey).toBeNull();
    const { dataKey: first } = (await set('switched', true))!;
    expect(first).toEqual(expect.any(Number));
    expect((await set('switched', true))!.dataKey).toBe(first);
    const { dataKey: second } = (await set('switched', true, true))!;
    expect(second).toBeGreaterThan(first!);
    expect((await set('switched', false))!.dataKey).toBeNull();
    expect((await findProject(sql, 'switched'))!.dataKey).toBeNull();
    const keys = await sql`select id from errand.data_key where project = 'switched' order by id`;
    expect(keys.map(({ id }) => id)).toEqual([first, second]);
  });

  it('makes one key, however many switch it on at once', async () => {
    await createProject(database.sql, 'crowded');
    const results = await Promise.all(Array.from({ length: 8 }, () => set('crowded', true)));
    const [row] = await database.sql`
      select count(*)::integer as keys, max(id) as id from errand.data_key where project = 'crowded'`;
    expect(row!.keys).toBe(1);
    expect(new Set(results.map((project) => project!.dataKey))).toEqual(new Set([row!.id]));
  });

  it('finds no project that is not there', async () => {
    expect(await set('nobody', true)).toBeNull();
    expect(await set('nobody', false)).toBeNull();
  });
});

describe('createKeyring()', () => {
  it('reads a key once, whoever asks meanwhile, and then has it at once', async () => {
    const id = await encrypt('read-once');
    const keyring = createKeyring(open, vault);
    statements = 0;
    const [one, other] = await Promise.all([
      keyring.get('read-once', id),
      keyring.get('read-once', id),
    ]);
    expect(one).toBe(other);
    expect(keyring.get('read-once', id)).toBe(one);
    expect(statements).toBe(1);
  });

  it("refuses another project's key, be it known or not", async () => {
    const id = await encrypt('owner');
    const keyring = createKeyring(open, vault);
    await expect(keyring.get('other', id)).rejects.toThrow(ContentError);
    await keyring.get('owner', id);
    await expect(keyring.get('other', id)).rejects.toThrow(/project "other" has no data key/);
  });

  it('asks no more for a while when it has not the master key, and again after that', async () => {
    const id = await encrypt('locked', createVault([NEW]));
    let nowMs = 0;
    const keyring = createKeyring(open, vault, () => nowMs);
    statements = 0;
    for (const atMs of [0, 9_999]) {
      nowMs = atMs;
      await expect(keyring.get('locked', id)).rejects.toMatchObject({ code: 'master-key-missing' });
    }
    expect(statements).toBe(1);
    await rewrapSecrets(database.sql, createVault([OLD, NEW]));
    nowMs = 10_000;
    expect(await keyring.get('locked', id)).toMatchObject({ id, project: 'locked' });
  });

  it('asks again at once when it was the database that was away', async () => {
    const id = await encrypt('away');
    let isAway = true;
    const keyring = createKeyring(
      {
        ...open,
        async run(verb) {
          if (isAway) throw new StoreError('database-unavailable', 'away');
          return verb(database.sql);
        },
      },
      vault,
    );
    await expect(keyring.get('away', id)).rejects.toThrow('away');
    isAway = false;
    expect(await keyring.get('away', id)).toMatchObject({ id });
  });
});

describe('rewrapSecrets()', () => {
  it('wraps data keys with another master key, and they stay the same', async () => {
    const { sql } = database;
    const id = await encrypt('rewrapped');
    const before = await createKeyring(open, vault).get('rewrapped', id);
    expect(await rewrapSecrets(sql, createVault([NEW, OLD]))).toBeGreaterThan(0);
    const { wrapped } = await checkSecrets(sql, createVault([NEW]));
    expect([...wrapped.keys()]).toEqual([masterKeyId(NEW)]);
    const after = await createKeyring(open, createVault([NEW])).get('rewrapped', id);
    expect(after.secret.equals(before.secret)).toBe(true);
    await expect(checkSecrets(sql, vault)).rejects.toMatchObject({ code: 'master-key-missing' });
  });

  it('does not open an envelope that was copied from another project', async () => {
    const { sql } = database;
    const [mine, theirs] = [await encrypt('mine'), await encrypt('theirs')];
    await sql`
      update errand.data_key set wrapped = (select wrapped from errand.data_key where id = ${theirs})
      where id = ${mine}`;
    await expect(createKeyring(open, vault).get('mine', mine)).rejects.toMatchObject({
      code: 'master-key-wrong',
    });
    await sql`update errand.project set data_key = null where name = 'mine'`;
    await sql`delete from errand.data_key where id = ${mine}`;
  });
});

describe('abandonSecrets()', () => {
  it('gives data keys up, so that nothing needs the lost master key any more', async () => {
    const { sql } = database;
    const lost = randomBytes(32);
    const id = await encrypt('abandoned', createVault([lost]));
    await expect(checkSecrets(sql, createVault([NEW, OLD]))).rejects.toThrow(/abandon/);
    expect(await abandonSecrets(sql, masterKeyId(lost))).toMatchObject({ dataKeys: 1 });
    await checkSecrets(sql, createVault([NEW, OLD]));
    await expect(createKeyring(open, vault).get('abandoned', id)).rejects.toThrow(ContentError);
  });
});
