import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

/** Files to walk over, in a folder of their own: each content tells its path. */
export async function makeTree(
  paths: readonly string[],
): Promise<{ root: string; remove(): Promise<void> }> {
  const root = await mkdtemp(join(tmpdir(), 'errand-tree-'));
  for (const path of paths) {
    await mkdir(join(root, path, '..'), { recursive: true });
    await writeFile(join(root, path), `This is ${path}\n`);
  }
  return { root, remove: () => rm(root, { recursive: true, force: true }) };
}

/** `directories` folders of `files` files each, in groups of ten. */
export function regularPaths(directories: number, files: number): string[] {
  return Array.from({ length: directories * files }, (_, i) => {
    const directory = Math.floor(i / files);
    return `group-${Math.floor(directory / 10)}/directory-${directory}/file-${i % files}.txt`;
  });
}
