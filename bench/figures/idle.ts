import { setTimeout as pause } from 'node:timers/promises';
import { difference } from '../meter.ts';
import type { Bench } from '../start.ts';
import type { Say } from '../statistics.ts';

export interface IdleFigures {
  seconds: number;
  statementsPerSecond: number;
  /** Percent of one processor: the service's process, and its Postgres. */
  processPercent: number;
  databasePercent: number;
}

/** A session that falls idle tells what it has done within 10 s (PGSTAT_IDLE_INTERVAL). */
const SETTLE_MS = 11_000;
const SECONDS = 10;

/** What the service does while there is nothing to do. Null without Errand. */
export async function measureIdle(
  { rows }: Bench,
  { say }: { say: Say },
): Promise<IdleFigures | null> {
  const service = rows.find(({ name }) => name === 'errand');
  if (service === undefined) return null;
  await service.ask.listen!();
  say(`idle: looking on for ${SETTLE_MS / 1000 + SECONDS} s`);
  await pause(SETTLE_MS);
  const [transactions, before] = [await service.meter.transactions(), await service.meter.read()];
  await pause(SECONDS * 1000);
  const used = difference(before, await service.meter.read());
  return {
    seconds: SECONDS,
    // Each of its statements is a transaction of its own.
    statementsPerSecond: ((await service.meter.transactions()) - transactions) / SECONDS,
    processPercent: (used.processSeconds / SECONDS) * 100,
    databasePercent: (used.storeSeconds / SECONDS) * 100,
  };
}
