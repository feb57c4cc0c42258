import { Command, InvalidArgumentError } from 'commander';
import { ErrandError } from '../errors.ts';
import type { ProjectQuotas } from '../protocol/access.ts';
import { PROJECT_NAME_PATTERN } from '../protocol/limits.ts';
import { createProject, listProjects, patchProject } from '../store/project.ts';
import { renderTable } from './table.ts';
import { withDatabase } from './with-database.ts';

const MOST = 1_000_000;
/** An option's value can't be null. */
const NONE = 'none';
type Limit = number | typeof NONE;

/** `errand project`: the tenants of this database. */
export function projectCommand(): Command {
  const command = new Command('project').description('make, set and list projects');
  command.command('create <name>').description('make a project; safe to repeat').action(create);
  command
    .command('set <name>')
    .description('change the quotas of a project, in force within a second; `none` lifts one')
    .option('--max-backlog <tasks>', 'waiting tasks over all its queues', parseCount(0))
    .option('--max-enqueues-per-second <tasks>', 'fractions are allowed', parseRate)
    .option(
      '--max-enqueue-burst <tasks>',
      'enqueued at once (none: a second’s worth)',
      parseCount(1),
    )
    .action(set);
  command.command('list').description('list the projects and their quotas').action(list);
  return command;
}

async function create(name: string): Promise<void> {
  if (!PROJECT_NAME_PATTERN.test(name)) {
    throw new ErrandError(
      'invalid-project-name',
      'A project name must be 1 to 63 lower-case letters, digits and dashes, ' +
        `not a dash first, got ${JSON.stringify(name)}`,
    );
  }
  const isNew = await withDatabase((sql) => createProject(sql, name));
  process.stdout.write(isNew ? `made project ${name}\n` : `project ${name} is there already\n`);
}

async function set(name: string, limits: Record<string, Limit>): Promise<void> {
  const given = Object.entries(limits).map(([quota, limit]) => [
    quota,
    limit === NONE ? null : limit,
  ]);
  const quotas: Partial<ProjectQuotas> = Object.fromEntries(given);
  const project = await withDatabase((sql) => patchProject(sql, name, quotas));
  if (project === null) throw noProject(name);
  process.stdout.write(renderTable(HEADINGS, [row(project)]));
}

async function list(): Promise<void> {
  const projects = await withDatabase(listProjects);
  process.stdout.write(renderTable(HEADINGS, projects.map(row)));
}

const HEADINGS = ['name', 'created', 'max backlog', 'max enqueues/s', 'max burst'];

function row({
  name,
  createdAt,
  quotas,
}: {
  name: string;
  createdAt: Date;
  quotas: ProjectQuotas;
}) {
  const { maxBacklog, maxEnqueuesPerSecond, maxEnqueueBurst } = quotas;
  const limits = [maxBacklog, maxEnqueuesPerSecond, maxEnqueueBurst].map((limit) => limit ?? '-');
  return [name, createdAt.toISOString(), ...limits];
}

function parseCount(least: number): (text: string) => Limit {
  return (text) => {
    if (text === NONE) return text;
    if (/^\d{1,7}$/.test(text) && Number(text) >= least && Number(text) <= MOST)
      return Number(text);
    throw new InvalidArgumentError(`It must be an integer from ${least} to ${MOST}, or none.`);
  };
}

function parseRate(text: string): Limit {
  if (text === NONE) return text;
  if (/^\d{1,7}(\.\d{1,6})?$/.test(text) && Number(text) <= MOST) return Number(text);
  throw new InvalidArgumentError(`It must be a number from 0 to ${MOST}, or none.`);
}

/** What any command says that was given the name of a project that is not there. */
export function noProject(name: string): ErrandError {
  return new ErrandError(
    'no-such-project',
    `There is no project ${name}: \`errand project list\` lists them, \`errand project create ${name}\` makes it`,
  );
}
