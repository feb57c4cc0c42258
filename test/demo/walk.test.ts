import { symlink } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { directoryOf, fetchFiles, walkFiles } from '../../examples/demo/walk.ts';
import { makeTree } from './tree.ts';

/** In the order of the walk. Names that sort apart from their paths, such as `a-b` beside `a/`. */
const PATHS = [
  'B',
  'z.txt',
  'a/1.txt',
  'a/c/0.txt',
  'a/c/deep/er/x',
  'a/z/0',
  'a-b/1.txt',
  'b/0.txt',
  'b/1.txt',
];
let tree: Awaited<ReturnType<typeof makeTree>>;
beforeAll(async () => {
  tree = await makeTree([...PATHS, '.vite/deps/x', 'a/.vitest-cache/y']);
  await symlink(join(tree.root, 'B'), join(tree.root, 'link'));
  await symlink(tree.root, join(tree.root, 'b/loop'));
});
afterAll(() => tree.remove());

async function collect(paths: AsyncIterable<string>): Promise<string[]> {
  const all: string[] = [];
  for await (const path of paths) all.push(path);
  return all;
}

describe('walkFiles()', () => {
  it('gives every file once, files before folders, follows no link, leaves caches out', async () => {
    expect(await collect(walkFiles(tree.root))).toEqual(PATHS);
  });

  it('goes on behind any of them', async () => {
    for (const [i, path] of PATHS.entries()) {
      expect(await collect(walkFiles(tree.root, path))).toEqual(PATHS.slice(i + 1));
    }
  });

  it('goes on where a file was that is gone', async () => {
    expect(await collect(walkFiles(tree.root, 'a/c/gone/x'))).toEqual(PATHS.slice(5));
    expect(await collect(walkFiles(tree.root, 'b/0.aaa'))).toEqual(PATHS.slice(7));
  });
});

describe('fetchFiles()', () => {
  it.each([1, 2, 3, 8, 9, 10])('gives everything in batches of %i', async (limit) => {
    const all: string[] = [];
    let cursor: string | null = null;
    do {
      const batch = await fetchFiles(tree.root, cursor, limit);
      expect(batch.entities.length).toBeLessThanOrEqual(limit);
      all.push(...batch.entities);
      cursor = batch.nextCursor;
    } while (cursor !== null);
    expect(all).toEqual(PATHS);
  });
});

describe('directoryOf()', () => {
  it.each([
    ['x', '.'],
    ['a/x', 'a'],
    ['a/b/x', 'a/b'],
  ])('of %s is %s', (path, directory) => {
    expect(directoryOf(path)).toBe(directory);
  });
});
