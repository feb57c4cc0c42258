import { parseArgs } from 'node:util';
import { ROWS, type RowName } from './row.ts';

export const FIGURES = ['drain', 'sustained', 'enqueue', 'batch', 'latency', 'idle'] as const;
export type FigureName = (typeof FIGURES)[number];

export interface Options {
  figures: readonly FigureName[];
  rows: readonly RowName[];
  tasks: number;
  rounds: number;
}

export const USAGE = `npm run bench -- [options]

  --only <figures>  some of ${FIGURES.join(',')} (default: all)
  --rows <rows>     some of ${ROWS.join(',')} (default: all)
  --tasks <number>  calls in each round of drain, batch and sustained (default: 50000)
  --rounds <number> rounds, of which the median counts (default: 3)
`;

/** @throws Error that says what was expected */
export function readOptions(args: string[] = process.argv.slice(2)): Options {
  const { values } = parseArgs({
    args,
    options: {
      only: { type: 'string', default: FIGURES.join() },
      rows: { type: 'string', default: ROWS.join() },
      tasks: { type: 'string', default: '50000' },
      rounds: { type: 'string', default: '3' },
      help: { type: 'boolean', default: false },
    },
  });
  if (values.help) {
    process.stdout.write(USAGE);
    process.exit(0);
  }
  return {
    figures: chosen('--only', values.only, FIGURES),
    rows: chosen('--rows', values.rows, ROWS),
    tasks: atLeast('--tasks', values.tasks, 1_000),
    rounds: atLeast('--rounds', values.rounds, 1),
  };
}

/** In our order, whatever that of the list. Throws what was expected. */
export function chosen<Name extends string>(
  option: string,
  list: string,
  names: readonly Name[],
): Name[] {
  const given = list.split(',').map((name) => name.trim());
  const unknown = given.find((name) => !names.includes(name as Name));
  if (unknown === undefined) return names.filter((name) => given.includes(name));
  throw new Error(`${option} takes some of ${names.join(',')}, got ${unknown}`);
}

function atLeast(option: string, given: string, least: number): number {
  const number = Number(given);
  if (Number.isInteger(number) && number >= least) return number;
  throw new Error(`${option} must be an integer from ${least}, got ${given}`);
}
