import { describe, expect, it } from 'vitest';
import { barLine, createProgress, plainLine } from '../../examples/demo/progress.ts';

describe('createProgress()', () => {
  const half = { done: 5, total: 10, text: '5 of 10 files' };

  function shown(isTTY: boolean): string {
    const written: string[] = [];
    const write = (text: string) => written.push(text);
    const progress = createProgress({ isTTY, columns: 40, write } as unknown as NodeJS.WriteStream);
    for (let i = 0; i < 50; i++) progress.update(half);
    progress.end();
    return written.join('');
  }

  it('draws over one line on a terminal, within its width', () => {
    const lines = shown(true).split('\r\u001b[2K').slice(1);
    expect(lines.length).toBeGreaterThan(50);
    expect(Math.max(...lines.map((line) => line.trimEnd().length))).toBeLessThan(40);
    expect(shown(true).endsWith('\n')).toBe(true);
  });

  it('writes few plain lines elsewhere, the last state among them', () => {
    expect(shown(false)).toBe(`${plainLine(half)}\n`.repeat(2));
    expect(shown(false)).not.toContain('\u001b');
  });

  it('is 100 % only at the end', () => {
    expect(plainLine({ done: 999_999, total: 1_000_000, text: '' })).toContain('99 %');
    expect(barLine({ done: 10, total: 10, text: '' })).toContain('100 %');
    expect(barLine(half)).toContain('██████████░░░░░░░░░░  50 %');
  });
});
