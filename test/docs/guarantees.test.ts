import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';

const ROOT = join(import.meta.dirname, '../..');
const text = await readFile(join(ROOT, 'docs/guarantees.md'), 'utf8');

/** The sections with the tests that hold them: "- `test/…`: what it is called". */
const sections = text.split(/^## /m).slice(1);
const named = [...text.matchAll(/^- `(test\/[^`]+\.test\.ts)`: (.+)$/gm)].map(
  ([, file, title]) => ({
    file: file!,
    title: title!,
  }),
);

describe('docs/guarantees.md', () => {
  test('has the ten promises, each with its limits and with tests that hold it', () => {
    const promises = sections.filter((section) => /^\d+\. /.test(section));
    expect(promises.map((section) => Number.parseInt(section, 10))).toEqual([
      1, 2, 3, 4, 5, 6, 7, 8, 9, 10,
    ]);
    const bare = promises.filter(
      (section) => !section.includes('**Limits.**') || !/^- `test\//m.test(section),
    );
    expect(bare).toEqual([]);
  });

  test.each(named)('$file has "$title"', async ({ file, title }) => {
    const source = await readFile(join(ROOT, file), 'utf8');
    // Titles stand in quotes of one kind or another, which may be escaped.
    expect(source.replaceAll("\\'", "'").includes(title)).toBe(true);
  });

  test('names each of these tests in the form that is checked', () => {
    const mentioned = text.match(/test\/[\w/.-]+\.ts/g) ?? [];
    expect(mentioned).toHaveLength(named.length);
  });
});
