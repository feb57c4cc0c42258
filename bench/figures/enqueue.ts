import { startChild } from '../child.ts';
import type { Cleanup } from '../../examples/demo/cleanup.ts';
import type { LoadSettings, LoadVerbs } from '../load-client.ts';
import type { NoopVerbs } from '../noop-server.ts';
import type { Bench } from '../start.ts';
import { median, type Say, secondsOf } from '../statistics.ts';
import { QUEUE } from '../work.ts';

export interface EnqueueFigures {
  clients: number;
  /** Requests a second. */
  noopRate: number;
  rate: number;
}

const CLIENTS = 64;

/**
 * Clients enqueue one task a request into a paused queue, so that nothing else is done, in turn with the
 * same requests to a route that checks the same and does nothing. Null without Errand.
 */
export async function measureEnqueue(
  { target, errand }: Bench,
  options: { tasks: number; rounds: number; say: Say; cleanup: Cleanup },
): Promise<EnqueueFigures | null> {
  if (errand === null) return null;
  const { tasks, rounds, say, cleanup } = options;
  const noop = await startNoop(errand, target.url, cleanup);
  const rates = { noop: [] as number[], errand: [] as number[] };
  // Round 0 warms up.
  for (let round = 0; round <= rounds; round += 1) {
    const noopSeconds = await secondsOf(() => noop.ask.singles(QUEUE, tasks, CLIENTS));
    await target.ask.reset();
    const seconds = await secondsOf(() => errand.enqueueSingles(tasks, CLIENTS));
    await errand.drain(tasks);
    if (round === 0) continue;
    rates.noop.push(tasks / noopSeconds);
    rates.errand.push(tasks / seconds);
    const [noopRate, rate] = [rates.noop, rates.errand].map((each) => Math.round(each.at(-1)!));
    say(`enqueue ${round}/${rounds}  no-op ${noopRate}/s, errand ${rate}/s`);
  }
  return { clients: CLIENTS, noopRate: median(rates.noop), rate: median(rates.errand) };
}

/** Its own load client, too, as the service has one. */
async function startNoop(
  { key, databaseUrl }: { key: string; databaseUrl: string },
  targetUrl: string,
  cleanup: Cleanup,
) {
  const server = await startChild<NoopVerbs>('./noop-server.ts', [key, databaseUrl], cleanup);
  const settings: LoadSettings = { port: await server.ask.port(), key, targetUrl };
  return startChild<LoadVerbs>('./load-client.ts', [JSON.stringify(settings)], cleanup);
}
