import { setTimeout as delay } from 'node:timers/promises';
import { Command } from 'commander';
import { type Cleanups, createCleanups } from '../cleanups.ts';
import { type Config, readConfig } from '../config.ts';
import { ErrandError } from '../errors.ts';
import { DEFAULT_PROJECT } from '../model.ts';
import { countScheduledLater } from '../store/drain.ts';
import { findQueue } from '../store/queue.ts';
import { dispatchPhase, type Phase, type Place, watchPhase } from './drain-phases.ts';
import { createProgressView } from './drain-progress.ts';
import { watchSignals } from './run-service.ts';
import { findDatabase } from './with-database.ts';

interface Flags {
  queue: string;
  project: string;
  limit?: string;
  timeout?: string;
}

interface Wanted {
  queue: string;
  project: string;
  /** Infinity: until nothing is waiting. */
  limit: number;
  timeoutSeconds: number;
}

interface Drained {
  how: 'done' | 'timeout' | 'interrupted';
  /** Tasks dispatched, by whomever. */
  done: number;
  /** How many of them this process called. */
  own: number;
  left: number;
}

const LOOK_EVERY_MS = 200;
/** Looking may take this share of the time: a long queue is counted less often. */
const LOOK_SHARE = 1 / 10;
const MAX_LIMIT = 100_000;
const MAX_TIMEOUT_SECONDS = 1_000_000;

const DRAIN_HELP = `
Where a dispatcher serves the queue's pool, it does the work and this command watches, and steps in
when that one dies; else this command is the dispatcher, with the settings of \`errand dispatch\`.
What is scheduled for later, retries too, is not waited for.`;

/** `errand drain`: ends with 1 when the queue was not emptied in time. */
export function drainCommand(): Command {
  return new Command('drain')
    .description('see a queue emptied, or so many of its tasks dispatched, and end')
    .requiredOption('--queue <name>', 'the queue')
    .option('--project <name>', 'the project it belongs to', DEFAULT_PROJECT)
    .option('--limit <number>', `end after so many tasks, 1 to ${MAX_LIMIT}`)
    .option('--timeout <seconds>', 'give up after this (default: never)')
    .addHelpText('after', DRAIN_HELP)
    .action(runDrain);
}

async function runDrain({ queue, project, ...flags }: Flags): Promise<void> {
  const limit = parseLimit(flags.limit);
  const timeoutSeconds = parseTimeout(flags.timeout);
  // Without DATABASE_URL it is the database of `errand dev`, and so are the rules of what to call.
  const mode = process.env.DATABASE_URL ? 'dispatch' : 'dev';
  const config = readConfig(process.env, { mode });
  const stack = createCleanups();
  try {
    await drain(config, stack, { queue, project, limit, timeoutSeconds });
  } finally {
    await stack.run();
  }
}

async function drain(config: Config, stack: Cleanups, wanted: Wanted): Promise<void> {
  const startedMs = performance.now();
  const found = await findDatabase(config);
  stack.defer(() => found.stop());
  const { open } = await import('../main.ts');
  const database = open(found.url, 'errand drain', 4, stack);
  const queue = await database.run((sql) => findQueue(sql, wanted.project, wanted.queue));
  if (queue === null) throw noQueue(wanted);
  if (queue.paused) throw paused(wanted);
  const place = { database, url: found.url, queue };
  const drained = await drainQueue(config, place, wanted);
  const seconds = ((performance.now() - startedMs) / 1000).toFixed(1);
  if (drained.how !== 'done') throw notDrained(wanted, drained, seconds);
  const later = await database.run((sql) => countScheduledLater(sql, queue));
  const rest = [
    drained.left === 0 ? 'nothing is waiting' : `${drained.left} waiting`,
    ...(later > 0 ? [`${later} scheduled for later`] : []),
  ];
  process.stdout.write(
    `queue ${queue.name}: ${dispatchedText(drained)} in ${seconds} s, ${rest.join(', ')}\n`,
  );
}

/** Watches while another serves the queue, and dispatches while nobody does. */
async function drainQueue(config: Config, place: Place, wanted: Wanted): Promise<Drained> {
  const endMs = performance.now() + wanted.timeoutSeconds * 1000;
  const view = createProgressView(process.stderr, () => performance.now());
  const asked = { toStop: false };
  void watchSignals().then(() => {
    asked.toStop = true;
  });
  let before = 0;
  let own = 0;
  let atStart: number | undefined;
  let phase: Phase = await watchPhase(config, place, wanted.limit);

  async function end(how: Drained['how'], done: number, left: number): Promise<Drained> {
    await phase.stop();
    own += phase.called();
    return { how, done: Math.max(done, own), own, left };
  }

  try {
    for (;;) {
      const lookedMs = performance.now();
      const { done: doneNow, left, inFlight, isDone, isOver } = await phase.look();
      atStart ??= left;
      // Between two ways of draining others go on, which only shows in what is left.
      const done = Math.max(before + doneNow, atStart - left);
      view.show({ done, total: done + left, inFlight });
      if (isDone || done >= wanted.limit) return await end('done', done, left);
      if (asked.toStop) return await end('interrupted', done, left);
      if (lookedMs >= endMs) return await end('timeout', done, left);
      const tookMs = performance.now() - lookedMs;
      if (isOver) {
        await phase.stop();
        own += phase.called();
        before = Math.max(done, own);
        const turn = phase.isOwn ? watchPhase : dispatchPhase;
        phase = await turn(config, place, Math.max(0, wanted.limit - before));
      }
      await delay(Math.max(LOOK_EVERY_MS, tookMs / LOOK_SHARE));
    }
  } finally {
    view.end();
    await phase.stop();
  }
}

function parseLimit(text: string | undefined): number {
  if (text === undefined) return Number.POSITIVE_INFINITY;
  const limit = Number(text);
  if (Number.isInteger(limit) && limit >= 1 && limit <= MAX_LIMIT) return limit;
  throw new ErrandError(
    'invalid-limit',
    `--limit must be an integer from 1 to ${MAX_LIMIT}, got ${JSON.stringify(text)}`,
  );
}

function parseTimeout(text: string | undefined): number {
  if (text === undefined) return Number.POSITIVE_INFINITY;
  const seconds = text.trim() === '' ? Number.NaN : Number(text);
  if (seconds >= 0 && seconds <= MAX_TIMEOUT_SECONDS) return seconds;
  throw new ErrandError(
    'invalid-timeout',
    `--timeout must be a number of seconds from 0 to ${MAX_TIMEOUT_SECONDS}, got ${JSON.stringify(text)}`,
  );
}

function noQueue({ project, queue }: Wanted): ErrandError {
  return new ErrandError('queue-not-found', `Project ${project} has no queue ${queue}`);
}

function paused({ queue }: Wanted): ErrandError {
  const message = `Queue ${queue} is paused, so nothing of it is dispatched: resume it first`;
  return new ErrandError('queue-paused', message);
}

function notDrained({ queue }: Wanted, drained: Drained, seconds: string): ErrandError {
  const { how, left } = drained;
  const why =
    how === 'timeout' ? `was not drained within ${seconds} s` : 'was not drained: stopped';
  return new ErrandError(
    `drain-${how}`,
    `Queue ${queue} ${why}; ${dispatchedText(drained)}, ${left} waiting or in flight`,
  );
}

function dispatchedText({ done, own }: Drained): string {
  const text = `${countTasks(done)} dispatched`;
  if (own === done) return text;
  return own === 0 ? `${text} by others` : `${text}, ${done - own} of them by others,`;
}

function countTasks(count: number): string {
  return count === 1 ? '1 task' : `${count} tasks`;
}
