import { describe, expect, it } from 'vitest';
import { createCleanup } from '../../examples/demo/cleanup.ts';

/** Two things to undo; the last one takes until it is let go. */
function cleanupOfTwo() {
  const done: string[] = [];
  const gate = Promise.withResolvers<void>();
  const cleanup = createCleanup();
  cleanup.add(async () => void done.push('folder'));
  cleanup.add(async () => {
    await gate.promise;
    done.push('process');
  });
  return { cleanup, done, gate };
}

describe('run()', () => {
  it('undoes the last first, each when the one before is done, though asked twice', async () => {
    const { cleanup, done, gate } = cleanupOfTwo();
    const runs = [cleanup.run(), cleanup.run()];
    await new Promise(setImmediate);
    expect(done).toEqual([]);
    gate.resolve();
    await Promise.all(runs);
    expect(done).toEqual(['process', 'folder']);
  });

  it('goes on after what fails, and says so', async () => {
    const { cleanup, done, gate } = cleanupOfTwo();
    gate.reject(new Error('It does not end'));
    await expect(cleanup.run()).rejects.toThrow('Not everything could be undone');
    expect(done).toEqual(['folder']);
    await expect(cleanup.run()).resolves.toBeUndefined();
  });
});
