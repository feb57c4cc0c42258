import { afterEach, describe, expect, it } from 'vitest';
import { checksumStraight } from '../../examples/demo/checksum.ts';
import { createCleanup } from '../../examples/demo/cleanup.ts';
import { type Demo, openDemo, startWalk, untilDrained } from '../../examples/demo/demo.ts';
import { compare, readTotals } from '../../examples/demo/report.ts';
import { readResults } from '../../examples/demo/results.ts';
import { makeTree, regularPaths } from './tree.ts';

const DIRECTORIES = 800;
const FILES = 3;
/** Of 2,400 files in batches of 500: the walk has four steps before it and the tasks of some steps wait. */
const KILL_AT = 150;

const cleanup = createCleanup();
afterEach(() => cleanup.run(), 60_000);

describe('the demo', () => {
  it('loses and doubles nothing when the service is killed (-9) in the middle and started again', async () => {
    const tree = await makeTree(regularPaths(DIRECTORIES, FILES));
    cleanup.add(tree.remove);
    const demo = await openDemo(tree.root, cleanup);
    const walk = await startWalk(demo);

    await untilSeen(demo, KILL_AT);
    await demo.service.kill();
    const atKill = (await readResults(demo.resultsFile)).length;
    expect(atKill).toBeLessThan(DIRECTORIES);
    await demo.service.start();
    const ended = await untilDrained(demo, walk);

    const gathered = await readResults(demo.resultsFile);
    const straight = await checksumStraight(tree.root);
    const none = { missing: [], unexpected: [], changed: [], countedTwice: [] };
    expect(compare(gathered, straight)).toEqual(none);
    expect(Object.keys(straight)).toHaveLength(DIRECTORIES * FILES);
    const totals = await readTotals(demo.client, ended);
    expect(totals.unsuccessful).toEqual([]);
    expect(totals.tasks).toBe(DIRECTORIES + ended.step + 1);
  }, 120_000);
});

async function untilSeen({ worker }: Demo, directories: number): Promise<void> {
  while (worker.seen().directories < directories) await worker.news();
}
