import { chmodSync, mkdtempSync } from 'node:fs';
import { rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type Cleanup, createCleanup } from '../examples/demo/cleanup.ts';
import type { RowName } from './row.ts';
import { type Bench, startBench } from './start.ts';
import type { Say } from './statistics.ts';

const SIGNALS = ['SIGINT', 'SIGTERM', 'SIGHUP'] as const;

/** Starts the rows, lets `work` measure them, and leaves nothing behind, nor after Ctrl-C. */
export async function runBench(
  rows: readonly RowName[],
  work: (bench: Bench, say: Say, cleanup: Cleanup) => Promise<void>,
): Promise<void> {
  const cleanup = createCleanup();
  let isInterrupted = false;
  /** Under npm it comes twice: from the terminal, and passed on by npm. */
  const interrupted = async () => {
    if (isInterrupted) return;
    isInterrupted = true;
    await cleanup.run();
    process.exit(130);
  };
  for (const signal of SIGNALS) process.on(signal, interrupted);

  const say = createSay();
  try {
    const bench = await startBench(rows, makeFolder(cleanup), say, cleanup);
    await work(bench, say, cleanup);
  } catch (error) {
    // What fails while everything is being stopped is no news.
    if (!isInterrupted) throw error;
  } finally {
    await cleanup.run();
    for (const signal of SIGNALS) process.off(signal, interrupted);
  }
}

function makeFolder(cleanup: Cleanup): string {
  const folder = mkdtempSync(join(tmpdir(), 'errand-bench-'));
  cleanup.add(() => rm(folder, { recursive: true, force: true }));
  chmodSync(folder, 0o755); // As root, the databases run as another user and must get through.
  return folder;
}

function createSay(): Say {
  const startedMs = performance.now();
  return (line) =>
    console.log(`${((performance.now() - startedMs) / 1000).toFixed(1).padStart(6)} s  ${line}`);
}
