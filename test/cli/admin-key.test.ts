import { mkdtemp, readdir, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { ensureAdminKey } from '../../src/cli/admin-key.ts';

let dataDir: string;

beforeEach(async () => {
  dataDir = join(await mkdtemp(join(tmpdir(), 'errand-key-')), 'data');
});

afterEach(() => rm(join(dataDir, '..'), { recursive: true, force: true }));

describe('ensureAdminKey()', () => {
  it('makes a key that only its owner can read, and finds it again', async () => {
    const made = await ensureAdminKey(dataDir);
    expect(made).toMatchObject({ isNew: true, file: join(dataDir, 'admin-key') });
    expect(made.key).toMatch(/^errand_admin_[\w-]{43}$/);
    expect((await stat(made.file)).mode & 0o777).toBe(0o600);
    expect(await ensureAdminKey(dataDir)).toEqual({ ...made, isNew: false });
  });

  it('makes one key for several processes that start at once, and leaves nothing else', async () => {
    const found = await Promise.all(Array.from({ length: 20 }, () => ensureAdminKey(dataDir)));
    expect(new Set(found.map(({ key }) => key)).size).toBe(1);
    expect(found.filter(({ isNew }) => isNew)).toHaveLength(1);
    expect(await readdir(dataDir)).toEqual(['admin-key']);
  });

  it('refuses a file that holds no key, and leaves it as it is', async () => {
    const { file } = await ensureAdminKey(dataDir);
    await writeFile(file, 'short\n');
    await expect(ensureAdminKey(dataDir)).rejects.toMatchObject({
      code: 'admin-key-damaged',
      message: expect.stringContaining('must hold a key of 24 or more characters, got 5'),
    });
    expect(await readFile(file, 'utf8')).toBe('short\n');
  });
});
