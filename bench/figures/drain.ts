import { difference, perTask, type Reading } from '../meter.ts';
import type { RowName } from '../row.ts';
import type { Bench, Row } from '../start.ts';
import { median, type Say, secondsOf } from '../statistics.ts';

export interface DrainRound {
  /** Tasks a second, enqueued by the thousand; null without a queue. */
  batchRate: number | null;
  /** Tasks a second from "go" until the last one has ended and that is written down. */
  drainRate: number;
  /** What the drain used, a task. */
  perTask: Reading;
}

export type DrainFigures = Partial<Record<RowName, DrainRound>>;

/**
 * Each row in turn, `rounds` times: its queue is filled while nothing is dispatched, then drained. Both
 * are timed, so that batch enqueue and drain come from one run. Gives each row's medians.
 */
export async function measureDrain(
  bench: Bench,
  { tasks, rounds, say }: { tasks: number; rounds: number; say: Say },
): Promise<DrainFigures> {
  const all = new Map<RowName, DrainRound[]>(bench.rows.map(({ name }) => [name, []]));
  for (const row of bench.rows) await runRound(bench, row, warmUpTasks(tasks));
  for (let round = 1; round <= rounds; round += 1) {
    for (const row of bench.rows) {
      const figures = await runRound(bench, row, tasks);
      all.get(row.name)!.push(figures);
      say(`drain ${round}/${rounds}  ${row.name.padEnd(16)} ${Math.round(figures.drainRate)}/s`);
    }
  }
  return Object.fromEntries([...all].map(([name, figures]) => [name, medianOf(figures)]));
}

/** So that no row is measured with code that is yet to be compiled. */
function warmUpTasks(tasks: number): number {
  return Math.max(1_000, Math.min(5_000, Math.floor(tasks / 5)));
}

async function runRound({ target }: Bench, row: Row, tasks: number): Promise<DrainRound> {
  await target.ask.reset();
  const batchSeconds = row.hasQueue ? await secondsOf(() => row.ask.fill!(tasks)) : null;
  const before = await row.meter.read();
  const drainSeconds = await secondsOf(() => row.ask.drain(tasks));
  const used = difference(before, await row.meter.read());
  const calls = await target.ask.count();
  if (calls !== tasks) throw new Error(`${row.name}: expected ${tasks} calls, got ${calls}`);
  return {
    batchRate: batchSeconds === null ? null : tasks / batchSeconds,
    drainRate: tasks / drainSeconds,
    perTask: perTask(used, tasks),
  };
}

function medianOf(rounds: DrainRound[]): DrainRound {
  const of = (pick: (round: DrainRound) => number) => median(rounds.map(pick));
  return {
    batchRate: rounds[0]!.batchRate === null ? null : of(({ batchRate }) => batchRate!),
    drainRate: of(({ drainRate }) => drainRate),
    perTask: {
      processSeconds: of(({ perTask }) => perTask.processSeconds),
      storeSeconds: of(({ perTask }) => perTask.storeSeconds),
      walBytes: of(({ perTask }) => perTask.walBytes),
      commits: of(({ perTask }) => perTask.commits),
    },
  };
}
