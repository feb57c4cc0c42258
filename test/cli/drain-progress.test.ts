import { describe, expect, it } from 'vitest';
import { createProgressView } from '../../src/cli/drain-progress.ts';

function start(isTTY: boolean) {
  const clock = { nowMs: 0 };
  let written = '';
  const output = {
    isTTY,
    write(text: string) {
      written += text;
    },
  };
  const view = createProgressView(output, () => clock.nowMs);
  return { clock, view, written: () => written };
}

describe('createProgressView()', () => {
  it('draws a bar over itself on a terminal, and takes it away at the end', () => {
    const { view, written } = start(true);
    view.show({ done: 0, total: 0, inFlight: 0 });
    view.show({ done: 10, total: 30, inFlight: 4 });
    view.end();
    expect(written().split('\r\x1b[2K')).toEqual([
      '',
      '[##############################] 0 of 0 done, 0 in flight',
      '[##########....................] 10 of 30 done, 4 in flight',
      '',
    ]);
  });

  it('writes a line elsewhere, when something changed and once a second at most', () => {
    const { clock, view, written } = start(false);
    const progress = { done: 1, total: 9, inFlight: 0 };
    view.show(progress);
    clock.nowMs = 999;
    view.show({ ...progress, done: 2 });
    clock.nowMs = 1000;
    view.show({ ...progress, done: 3 });
    clock.nowMs = 5000;
    view.show({ ...progress, done: 3 });
    view.end();
    expect(written()).toBe('1 of 9 done, 0 in flight\n3 of 9 done, 0 in flight\n');
  });
});
