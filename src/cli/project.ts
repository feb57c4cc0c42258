import { Command, InvalidArgumentError, Option } from 'commander';
import { readDatabaseConfig } from '../config.ts';
import { ErrandError } from '../errors.ts';
import type { ProjectQuotas } from '../protocol/access.ts';
import { PROJECT_NAME_PATTERN } from '../protocol/limits.ts';
import { makeDataKey, setEncryption } from '../store/data-key.ts';
import { createProject, listProjects, patchProject, type Project } from '../store/project.ts';
import { createVault } from '../store/vault.ts';
import { renderTable } from './table.ts';
import { withDatabase } from './with-database.ts';

const MOST = 1_000_000;
/** An option's value can't be null. */
const NONE = 'none';
type Limit = number | typeof NONE;
type EncryptionMode = 'on' | 'off' | 'new-key';
type SetOptions = Partial<Record<keyof ProjectQuotas, Limit>> & {
  encryptPayloads?: EncryptionMode;
};

/** `errand project`: the tenants of this database. */
export function projectCommand(): Command {
  const command = new Command('project').description('make, set and list projects');
  command.command('create <name>').description('make a project; safe to repeat').action(create);
  command
    .command('set <name>')
    .description('change a project, in force within a second; `none` lifts a quota')
    .option('--max-backlog <tasks>', 'waiting tasks over all its queues', parseCount(0))
    .option('--max-enqueues-per-second <tasks>', 'fractions are allowed', parseRate)
    .option(
      '--max-enqueue-burst <tasks>',
      'enqueued at once (none: a second’s worth)',
      parseCount(1),
    )
    .addOption(
      new Option(
        '--encrypt-payloads <mode>',
        'payloads and headers of new tasks, at rest; needs ERRAND_MASTER_KEY (new-key: on, with another data key from now on)',
      ).choices(['on', 'off', 'new-key']),
    )
    .action(set);
  command.command('list').description('list the projects and what is set for them').action(list);
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

async function set(name: string, { encryptPayloads, ...limits }: SetOptions): Promise<void> {
  const encryption = encryptPayloads && encryptionOf(name, encryptPayloads);
  const given = Object.entries(limits).map(([quota, limit]) => [
    quota,
    limit === NONE ? null : limit,
  ]);
  const quotas: Partial<ProjectQuotas> = Object.fromEntries(given);
  const project = await withDatabase(async (sql) => {
    const patched = await patchProject(sql, name, quotas);
    return encryption ? setEncryption(sql, name, encryption.wrapped, encryption) : patched;
  });
  if (project === null) throw noProject(name);
  process.stdout.write(renderTable(HEADINGS, [row(project)]));
}

function encryptionOf(project: string, mode: EncryptionMode) {
  if (mode === 'off') return { wrapped: null };
  const vault = createVault(readDatabaseConfig(process.env).masterKeys);
  const wrapped = makeDataKey(vault, project);
  if (wrapped !== null) return { wrapped, isRenewed: mode === 'new-key' };
  throw new ErrandError(
    'no-master-key',
    'ERRAND_MASTER_KEY must have the key that wraps the data keys, but it is not set: `errand master-key new` makes one; give it to every process first',
  );
}

async function list(): Promise<void> {
  const projects = await withDatabase(listProjects);
  process.stdout.write(renderTable(HEADINGS, projects.map(row)));
}

const HEADINGS = ['name', 'created', 'encrypts', 'max backlog', 'max enqueues/s', 'max burst'];

function row({ name, createdAt, dataKey, quotas }: Project) {
  const { maxBacklog, maxEnqueuesPerSecond, maxEnqueueBurst } = quotas;
  const limits = [maxBacklog, maxEnqueuesPerSecond, maxEnqueueBurst].map((limit) => limit ?? '-');
  return [name, createdAt.toISOString(), dataKey === null ? 'no' : 'yes', ...limits];
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
