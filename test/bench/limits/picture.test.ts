import { describe, expect, it } from 'vitest';
import { drawCourse } from '../../../bench/limits/picture.ts';

describe('drawCourse()', () => {
  const course = {
    whole: { fromMs: 1_000, toMs: 21_500 },
    steady: [],
    disturbances: [{ name: 'kill -9', fromMs: 4_000, toMs: 7_000 }],
    changes: [
      { queue: 'rate', from: 50, to: 20, sentMs: 9_000, answeredMs: 9_010 },
      { queue: 'rate', from: 20, to: 50, sentMs: 15_000, answeredMs: 15_010 },
    ],
  };

  it('marks every disturbance and every change of a limit', () => {
    const svg = drawCourse(course, []);
    for (const name of ['kill -9', 'PATCH ↓', 'PATCH ↑']) expect(svg).toContain(`>${name}</text>`);
  });

  it('draws a run without a call too', () => {
    expect(drawCourse(course, [])).not.toMatch(/NaN|Infinity|undefined/);
  });
});
