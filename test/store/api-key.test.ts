import { describe, expect, it } from 'vitest';
import { findApiKey, insertApiKey, listApiKeys, revokeApiKey } from '../../src/store/api-key.ts';
import { createProject, listProjects, projectExists } from '../../src/store/project.ts';
import { useDatabase } from './task-fixture.ts';

const database = useDatabase();
const secretHash = new Uint8Array(32).fill(7);

describe('api keys', () => {
  it('findApiKey() finds a key until it is revoked', async () => {
    const { sql } = database;
    await insertApiKey(sql, { id: 'one', project: 'default', label: 'ci', secretHash });
    expect(await findApiKey(sql, 'one')).toEqual({
      project: 'default',
      secretHash: Buffer.from(secretHash),
    });
    expect(await revokeApiKey(sql, 'default', 'one')).toBe(true);
    expect(await findApiKey(sql, 'one')).toBeNull();
  });

  it('revokeApiKey() keeps the first time, and leaves other projects alone', async () => {
    const { sql } = database;
    await createProject(sql, 'other');
    await insertApiKey(sql, { id: 'two', project: 'default', label: '', secretHash });
    expect(await revokeApiKey(sql, 'other', 'two')).toBe(false);
    await revokeApiKey(sql, 'default', 'two');
    const [before] = await listApiKeys(sql, 'default');
    expect(await revokeApiKey(sql, 'default', 'two')).toBe(true);
    expect((await listApiKeys(sql, 'default'))[0]).toEqual(before);
  });

  it('listApiKeys() lists the newest first, and no secret', async () => {
    const { sql } = database;
    await createProject(sql, 'listed');
    await insertApiKey(sql, { id: 'old', project: 'listed', label: 'a', secretHash });
    await insertApiKey(sql, { id: 'new', project: 'listed', label: 'b', secretHash });
    const keys = await listApiKeys(sql, 'listed');
    expect(keys.map((key) => key.id)).toEqual(['new', 'old']);
    expect(Object.keys(keys[0]!)).toEqual(['id', 'project', 'label', 'createdAt', 'revokedAt']);
  });
});

describe('projects', () => {
  it('createProject() is safe to repeat', async () => {
    const { sql } = database;
    expect(await projectExists(sql, 'fresh')).toBe(false);
    expect([await createProject(sql, 'fresh'), await createProject(sql, 'fresh')]).toEqual([
      true,
      false,
    ]);
    expect(await projectExists(sql, 'fresh')).toBe(true);
    const names = (await listProjects(sql)).map((project) => project.name);
    expect(names).toEqual(expect.arrayContaining(['default', 'fresh']));
  });
});
