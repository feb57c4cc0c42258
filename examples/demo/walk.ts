import type { Dirent } from 'node:fs';
import { readdir } from 'node:fs/promises';
import { join } from 'node:path';

/** What tools write into node_modules while they run: it would change under the walk. */
const CACHE = /^\.(cache|vite|vitest)/;

/**
 * Every file below `root`, as a path relative to it with `/`, always in the same order: by name, and in
 * each directory the files before the folders, so that a directory's own files stand together. Links
 * are not followed, and tools' caches are left out. With `after` it starts behind that path and reads
 * only the folders it has to.
 */
export async function* walkFiles(
  root: string,
  after: string | null = null,
): AsyncGenerator<string> {
  yield* walkFolder(root, '', after === null ? null : after.split('/'));
}

/** A file's directory relative to the root; the root itself is `.`. */
export function directoryOf(path: string): string {
  const end = path.lastIndexOf('/');
  return end === -1 ? '.' : path.slice(0, end);
}

/** Up to `limit` files behind the cursor, and the cursor of the next batch: what an iterativeTask asks for. */
export async function fetchFiles(
  root: string,
  after: string | null,
  limit: number,
): Promise<{ entities: string[]; nextCursor: string | null }> {
  const entities: string[] = [];
  for await (const path of walkFiles(root, after)) {
    entities.push(path);
    if (entities.length === limit) return { entities, nextCursor: path };
  }
  return { entities, nextCursor: null };
}

async function* walkFolder(
  folder: string,
  prefix: string,
  after: string[] | null,
): AsyncGenerator<string> {
  const entries = (await readdir(folder, { withFileTypes: true })).sort(byName);
  const [first = null, ...rest] = after ?? [];
  // The cursor ends in this folder, or it lies in a folder and all files here are behind us.
  const lastFile = rest.length === 0 ? first : null;
  const lastFolder = rest.length > 0 ? first : null;
  for (const { name } of entries.filter((entry) => entry.isFile())) {
    if (lastFolder !== null || (lastFile !== null && name <= lastFile)) continue;
    yield prefix + name;
  }
  for (const { name } of entries.filter(isWalked)) {
    if (lastFolder !== null && name < lastFolder) continue;
    yield* walkFolder(join(folder, name), `${prefix}${name}/`, name === lastFolder ? rest : null);
  }
}

function isWalked(entry: Dirent): boolean {
  return entry.isDirectory() && !CACHE.test(entry.name);
}

/** By code unit: an order that no locale changes. */
function byName(a: { name: string }, b: { name: string }): number {
  if (a.name === b.name) return 0;
  return a.name < b.name ? -1 : 1;
}
