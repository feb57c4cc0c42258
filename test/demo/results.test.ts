import { appendFile, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { openResults, readResults } from '../../examples/demo/results.ts';
import { makeTree } from './tree.ts';

const A = { directory: 'a', checksums: { 'a/1': 'x' } };
const B = { directory: 'b', checksums: { 'b/1': 'y' } };
let file: string;
let folder: Awaited<ReturnType<typeof makeTree>>;
beforeEach(async () => {
  folder = await makeTree([]);
  file = join(folder.root, 'results.jsonl');
});
afterEach(async () => rm(folder.root, { recursive: true }));

describe('record()', () => {
  it('keeps a directory once, however many calls come at once', async () => {
    const results = await openResults(file);
    const answers = await Promise.all([results.record(A), results.record(A), results.record(B)]);
    await results.close();
    expect(answers).toEqual([true, false, true]);
    expect((await readResults(file)).map((result) => result.directory).sort()).toEqual(['a', 'b']);
  });

  it('knows what an earlier process kept', async () => {
    const earlier = await openResults(file);
    await earlier.record(A);
    await earlier.close();
    const results = await openResults(file);
    expect(await results.record(A)).toBe(false);
    expect(await results.record(B)).toBe(true);
    await results.close();
    expect(await readResults(file)).toEqual([A, B]);
  });

  it('does not take a line that was cut for a result', async () => {
    await appendFile(file, `${JSON.stringify(A)}\n{"directory":"b","chec`);
    const results = await openResults(file);
    expect(await results.record(B)).toBe(true);
    await results.close();
    expect(await readResults(file)).toEqual([A, B]);
  });
});
