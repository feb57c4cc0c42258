import { difference, perTask, type Reading } from '../meter.ts';
import type { Bench } from '../start.ts';
import { median, type Say, secondsOf } from '../statistics.ts';

export interface SustainedFigures {
  clients: number;
  /** Calls a second of the plain loop, in the same rounds. */
  plainRate: number;
  /** Tasks a second from the first request until the last task has ended. */
  rate: number;
  /** What the service used a task, in the last round. */
  perTask: Reading;
}

const CLIENTS = 64;

/**
 * Clients enqueue one task a request, each its next when it is answered, while the tasks are dispatched;
 * the plain loop makes as many calls in turn with it. Null without both rows.
 */
export async function measureSustained(
  { target, rows, errand }: Bench,
  { tasks, rounds, say }: { tasks: number; rounds: number; say: Say },
): Promise<SustainedFigures | null> {
  const plain = rows.find(({ name }) => name === 'plain-loop');
  const service = rows.find(({ name }) => name === 'errand');
  if (plain === undefined || service === undefined || errand === null) return null;
  const rates = { plain: [] as number[], errand: [] as number[] };
  let used: Reading | null = null;
  for (let round = 1; round <= rounds; round += 1) {
    rates.plain.push(tasks / (await secondsOf(() => plain.ask.drain(tasks))));
    await target.ask.reset();
    const before = await service.meter.read();
    rates.errand.push(tasks / (await secondsOf(() => errand.sustain(tasks, CLIENTS))));
    used = perTask(difference(before, await service.meter.read()), tasks);
    const calls = await target.ask.count();
    if (calls !== tasks) throw new Error(`sustained: expected ${tasks} calls, got ${calls}`);
    say(`sustained ${round}/${rounds}  ${Math.round(rates.errand.at(-1)!)}/s`);
  }
  return {
    clients: CLIENTS,
    plainRate: median(rates.plain),
    rate: median(rates.errand),
    perTask: used!,
  };
}
