import { open, readFile } from 'node:fs/promises';
import type { Checksums } from './checksum.ts';

/** What one task found: the checksums of the files of one directory. */
export interface Result {
  directory: string;
  checksums: Checksums;
}

/** The worker's own store: a file of one JSON line a directory, each on disk before it is answered. */
export interface Results {
  /** Keeps the result. False when the directory's is there already: a call may come twice. */
  record(result: Result): Promise<boolean>;
  close(): Promise<void>;
}

export async function openResults(path: string): Promise<Results> {
  const file = await open(path, 'a+');
  const earlier = completeLines(await file.readFile('utf8'));
  // A crash may have cut the last line, and the next one must not go on behind it.
  await file.truncate(Buffer.byteLength(earlier));
  const known = new Map<string, Promise<void>>();
  for (const { directory } of parseLines(earlier)) known.set(directory, Promise.resolve());
  const write = async (result: Result): Promise<void> => {
    await file.appendFile(`${JSON.stringify(result)}\n`);
    await file.datasync();
  };
  return {
    async record(result) {
      const before = known.get(result.directory);
      const written = before ?? write(result);
      known.set(result.directory, written);
      // The second of two calls at once must not answer before the first one's line is on disk.
      await written;
      return before === undefined;
    },
    close: () => file.close(),
  };
}

/** Every line as it lies there, two of the same directory included. */
export async function readResults(path: string): Promise<Result[]> {
  return parseLines(completeLines(await readFile(path, 'utf8')));
}

function completeLines(text: string): string {
  return text.slice(0, text.lastIndexOf('\n') + 1);
}

function parseLines(lines: string): Result[] {
  return lines
    .split('\n')
    .slice(0, -1)
    .map((line) => JSON.parse(line));
}
