import { describe, expect, it } from 'vitest';
import {
  findApiKey,
  insertApiKey,
  listApiKeys,
  noteKeyUse,
  revokeApiKey,
} from '../../src/store/api-key.ts';
import {
  createProject,
  findProject,
  listProjects,
  patchProject,
  projectExists,
  putProject,
} from '../../src/store/project.ts';
import { useDatabase } from './task-fixture.ts';

const database = useDatabase();
const secretHash = new Uint8Array(32).fill(7);
const NO_QUOTAS = { maxBacklog: null, maxEnqueuesPerSecond: null, maxEnqueueBurst: null };

describe('api keys', () => {
  it('findApiKey() finds a key until it is revoked', async () => {
    const { sql } = database;
    await insertApiKey(sql, { id: 'one', project: 'default', label: 'ci', secretHash });
    expect(await findApiKey(sql, 'one')).toEqual({
      id: 'one',
      project: 'default',
      secretHash: Buffer.from(secretHash),
      quotas: NO_QUOTAS,
      dataKey: null,
      cursorKey: expect.any(Buffer),
      scopes: ['enqueue', 'read', 'manage'],
      queues: null,
      expiresInSeconds: null,
      usedBeforeSeconds: null,
    });
    expect(await revokeApiKey(sql, 'default', 'one')).toBe(true);
    expect(await findApiKey(sql, 'one')).toBeNull();
  });

  it('findApiKey() tells scopes, queues and how long it is good for, and not after', async () => {
    const { sql } = database;
    const limits = {
      scopes: ['enqueue'],
      queues: ['mail-*', 'sms'],
      expiresInSeconds: 60,
    } as const;
    await insertApiKey(sql, { id: 'brief', project: 'default', label: '', secretHash, ...limits });
    const found = (await findApiKey(sql, 'brief'))!;
    expect(found).toMatchObject({ scopes: ['enqueue'], queues: ['mail-*', 'sms'] });
    expect(found.expiresInSeconds).toBeGreaterThan(50);
    expect(found.expiresInSeconds).toBeLessThanOrEqual(60);
    await sql`update errand.api_key set expires_at = now() where id = 'brief'`;
    expect(await findApiKey(sql, 'brief')).toBeNull();
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
    expect(JSON.stringify(keys)).not.toMatch(/secret|0707/i);
  });

  it('noteKeyUse() writes a key at most once a minute', async () => {
    const { sql } = database;
    await insertApiKey(sql, { id: 'used', project: 'default', label: '', secretHash });
    const usedAt = async () =>
      (await listApiKeys(sql, 'default')).find(({ id }) => id === 'used')!.lastUsedAt;
    await noteKeyUse(sql, ['used', 'not there']);
    const first = await usedAt();
    expect(first).toBeInstanceOf(Date);
    await noteKeyUse(sql, ['used']);
    expect(await usedAt()).toEqual(first);
    await sql`update errand.api_key set last_used_at = now() - interval '61 s' where id = 'used'`;
    await noteKeyUse(sql, ['used']);
    expect((await usedAt())!.getTime()).toBeGreaterThan(first!.getTime());
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

  it('putProject() creates or replaces, patchProject() keeps what is left out', async () => {
    const { sql } = database;
    const put = await putProject(sql, 'quoted', { maxBacklog: 5 });
    expect(put).toMatchObject({ isCreated: true, project: { quotas: { maxBacklog: 5 } } });
    const patched = await patchProject(sql, 'quoted', { maxEnqueuesPerSecond: 0.5 });
    expect(patched!.quotas).toEqual({ ...NO_QUOTAS, maxBacklog: 5, maxEnqueuesPerSecond: 0.5 });
    await patchProject(sql, 'quoted', { maxBacklog: null });
    const replaced = await putProject(sql, 'quoted', { maxEnqueueBurst: 3 });
    expect(replaced.isCreated).toBe(false);
    expect((await findProject(sql, 'quoted'))!.quotas).toEqual({
      ...NO_QUOTAS,
      maxEnqueueBurst: 3,
    });
    expect(await patchProject(sql, 'nobody', {})).toBeNull();
    expect(await findProject(sql, 'nobody')).toBeNull();
  });
});
