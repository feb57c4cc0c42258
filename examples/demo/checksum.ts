import { createHash } from 'node:crypto';
import { closeSync, openSync, readSync } from 'node:fs';
import { readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { walkFiles } from './walk.ts';

const piece = Buffer.alloc(1024 * 1024);

/** SHA-256, in hex, of each file by its path relative to the root. */
export type Checksums = Record<string, string>;

/** The files that lie in `directory` itself. */
export async function checksumDirectory(root: string, directory: string): Promise<Checksums> {
  const checksums: Checksums = {};
  for (const entry of await readdir(join(root, directory), { withFileTypes: true })) {
    if (!entry.isFile()) continue;
    const path = directory === '.' ? entry.name : `${directory}/${entry.name}`;
    checksums[path] = checksumFile(join(root, path));
  }
  return checksums;
}

/** The same by a plain loop over everything: what the gathered checksums are compared with. */
export async function checksumStraight(root: string): Promise<Checksums> {
  const checksums: Checksums = {};
  for await (const path of walkFiles(root)) checksums[path] = checksumFile(join(root, path));
  return checksums;
}

/**
 * Without a turn of the event loop, for most files are small: 14,674 of them took 0.6 s so, and 3.4 s
 * by `fs/promises`. In pieces, for some are larger than 100 MB; those take a tenth of a second.
 */
function checksumFile(path: string): string {
  const hash = createHash('sha256');
  const file = openSync(path, 'r');
  try {
    let bytes: number;
    do {
      bytes = readSync(file, piece, 0, piece.length, null);
      hash.update(piece.subarray(0, bytes));
    } while (bytes > 0);
  } finally {
    closeSync(file);
  }
  return hash.digest('hex');
}
