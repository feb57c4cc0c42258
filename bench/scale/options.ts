import { statfs } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { parseArgs } from 'node:util';
import { chosen } from '../options.ts';

export const SECTIONS = [
  'backlog',
  'history',
  'queues',
  'payload',
  'dispatchers',
  'pinned',
] as const;
export type SectionName = (typeof SECTIONS)[number];

export interface Options {
  sections: readonly SectionName[];
  /** No backlog, history or number of queues goes past it. */
  largest: number;
  /** Of the run with a pinned horizon. */
  minutes: number;
  /** Tasks of one drain. */
  tasks: number;
  rounds: number;
}

export const USAGE = `npm run bench:scale -- [options]

  --only <sections>  some of ${SECTIONS.join(',')} (default: all)
  --largest <number> no backlog or history is larger (default: 1e7)
  --minutes <number> of the run beside an idle transaction (default: 10)
  --tasks <number>   calls in each drain (default: 20000)
  --rounds <number>  drains of each size, of which the median counts (default: 3)
`;

/** Reckoned, not measured: a finished and a scheduled task with all their rows and indexes. */
const BYTES_PER_TASK = 2_500;
const SPARE_BYTES = 4e9;

/** @throws Error that says what was expected */
export function readOptions(args: string[] = process.argv.slice(2)): Options {
  const { values } = parseArgs({
    args,
    options: {
      only: { type: 'string', default: SECTIONS.join() },
      largest: { type: 'string', default: '1e7' },
      minutes: { type: 'string', default: '10' },
      tasks: { type: 'string', default: '20000' },
      rounds: { type: 'string', default: '3' },
      help: { type: 'boolean', default: false },
    },
  });
  if (values.help) {
    process.stdout.write(USAGE);
    process.exit(0);
  }
  return {
    sections: chosen('--only', values.only, SECTIONS),
    largest: integer('--largest', values.largest, 1_000),
    minutes: number('--minutes', values.minutes, 0.5),
    tasks: integer('--tasks', values.tasks, 2_000),
    rounds: integer('--rounds', values.rounds, 1),
  };
}

/** The power of ten, `largest` at most, for which the temporary folder has room. */
export async function fitToDisk(largest: number, say: (line: string) => void): Promise<number> {
  const { bavail, bsize } = await statfs(tmpdir());
  const fits = largestThatFits(largest, bavail * bsize);
  if (fits < largest) {
    const free = (bavail * bsize) / 1e9;
    say(`SCALED DOWN to ${fits}: ${tmpdir()} has ${free.toFixed(0)} GB, too few for ${largest}`);
  }
  return fits;
}

export function largestThatFits(largest: number, freeBytes: number): number {
  let fits = largest;
  while (fits > 1_000 && fits * BYTES_PER_TASK + SPARE_BYTES > freeBytes) fits /= 10;
  return fits;
}

function integer(option: string, given: string, least: number): number {
  if (Number.isInteger(Number(given))) return number(option, given, least);
  throw new Error(`${option} must be an integer from ${least}, got ${given}`);
}

function number(option: string, given: string, least: number): number {
  if (Number(given) >= least) return Number(given);
  throw new Error(`${option} must be a number from ${least}, got ${given}`);
}
